"""URLs: which texts are URLs, and their parts, as the standard library sees them."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentlib.url import PORTS, Url


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "path", "query", "authority"),
    [
        ("http://h", "http", "h", 80, "", "", "h"),
        ("HTTPS://H/", "https", "H", 443, "/", "", "H"),
        ("http://h:80/x", "http", "h", 80, "/x", "", "h"),
        ("https://h:80/x", "https", "h", 80, "/x", "", "h:80"),
        ("http://h:/x?y", "http", "h", 80, "/x", "?y", "h"),
        ("http://h:09292/x?", "http", "h", 9292, "/x", "?", "h:9292"),
        ("http://10.0.0.1:9292/v2/x?a=/b&c=@", "http", "10.0.0.1", 9292, "/v2/x", "?a=/b&c=@",
         "10.0.0.1:9292"),
        ("http://h?x=1", "http", "h", 80, "", "?x=1", "h"),
        ("http://[::1]:9292/", "http", "::1", 9292, "/", "", "[::1]:9292"),
        ("http://[::1]", "http", "::1", 80, "", "", "[::1]"),
        ("http://[fe80::1%eth0]:9292/", "http", "fe80::1%eth0", 9292, "/", "", "[fe80::1]:9292"),
        ("http://[::ffff:10.0.0.1]/", "http", "::ffff:10.0.0.1", 80, "/", "", "[::ffff:10.0.0.1]"),
    ],
)
def test_parts(
    url: str, scheme: str, host: str, port: int, path: str, query: str, authority: str,
) -> None:
    """A URL is split into parts; the Host header has no interface and no default port."""
    found = Url(url)
    assert (scheme, host, port) == (found.scheme, found.host, found.port)
    assert (path, query, authority) == (found.path, found.query, found.authority)
    assert not found.user


@pytest.mark.parametrize("url", ["http://u@h", "http://u:p@h/", "http://@h", "http://a@b@h:5/x"])
def test_user(url: str) -> None:
    """A user in a URL is noticed, and is no part of the host."""
    assert Url(url).user
    assert "h" == Url(url).host


@pytest.mark.parametrize(
    "url",
    ["", "h", "h:80", "//h", "http:h", "http:/h", "http://", "http:///x", "ftp://h", "http://h#x",
     "http://h:0", "http://h:65536", "http://h:999999999", "http://h:-1", "http://h:x",
     "http://h:1:2", "http://::1", "http://[::1", "http://::1]", "http://[::1]x", "http://x[::1]",
     "http://[]", "http://[h]", "http://[::1%]", "http://[::1%a%b]", "http://[10.0.0.1]",
     "http://h h", "http://h/\n", "http://h\r\n", "http://h\0", "http://\u00e4", "http://\ud800",
     "http://h:\u0663", "http://:80", "http://u@", " http://h", "http ://h"],
    ids=ascii)
def test_no_url(url: str) -> None:
    """A text that is no http or https URL, or has invalid parts, is refused."""
    with pytest.raises(ValueError, match="^no "):
        Url(url)


PARTS = st.sampled_from([
    "http", "https", "HTTP", "://", ":", "//", "/", "h", "[", "]", "[::1]", "[fe80::1%eth0]", "%",
    "10.0.0.1", ":80", ":0", "@", "u:p@", "?", "#", "\\", "v2", " ", "\n", "\u00e4", "\u2100"])


@given(url=st.text(max_size=9) | st.lists(PARTS, max_size=9).map("".join)
       | st.lists(PARTS, max_size=7).map(lambda parts: "http://" + "".join(parts)))
@example(url="http://h:00080")
@example(url="http://[::1]:80/[x]?[y]")
@example(url="http://[@http")
@example(url="http://[::1]@http")
def test_any_url(url: str) -> None:
    """Whatever it is: no URL, or one that has the same parts for Python's own library."""
    try:
        found = Url(url)
    except ValueError:
        return
    parts = urlsplit(url)
    assert parts.hostname is not None
    # The library makes the host lower case, but (in some versions) not the interface.
    assert (parts.scheme, parts.hostname.lower()) == (found.scheme, found.host.lower())
    assert (parts.port or PORTS[parts.scheme]) == found.port
    assert (parts.path, parts.query) == (found.path, found.query[1:])
    assert (parts.username is not None) == found.user
    assert found.authority.isascii() and found.authority.isprintable()


HOSTS = st.from_regex(r"[a-z0-9-]{1,9}(\.[a-z0-9]{1,9}){0,2}", fullmatch=True) \
    | st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map("[{}]".format)


@given(scheme=st.sampled_from([*PORTS]), host=HOSTS,
       port=st.just("") | st.integers(1, 65535).map(":{}".format),
       rest=st.from_regex(r"(/[a-z0-9.~{}-]{0,9}){0,3}", fullmatch=True))
def test_every_url(scheme: str, host: str, port: str, rest: str) -> None:
    """Every URL of a host, a port and a path is accepted."""
    found = Url(f"{scheme}://{host}{port}{rest}")
    assert (host.strip("[]"), rest) == (found.host, found.path)
    assert (int(port[1:]) if port else PORTS[scheme]) == found.port
