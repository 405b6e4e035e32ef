"""Credentials, Identity URLs and tokens; with the look-alike of Keystone."""

from __future__ import annotations

import itertools
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib import keystone as module
from agentlib.deadline import Deadline
from agentlib.errors import ConfigurationError, NotInstalledError
from agentlib.keystone import (
    GUIDE_TOKEN_URL,
    Identity,
    NoTokenError,
    Token,
    checked_url,
    identity,
    identity_root,
    parameters,
    validate_host,
    verification,
)
from agentlib.parameters import Values
from agentlib.reason import one_line
from lookalike.keystone import Keystone
from unit.kit import GIVE_IPV6, ROOT

PASSWORD = "pa55-w0rd"
PLENTY = 120.0

CREDENTIALS = {"os_username": "monitor", "os_password": PASSWORD, "os_project_name": "service",
               "os_auth_url": "http://10.0.0.11:5000"}


def values_for(token_url: str = "", /, **given: str) -> Values:
    return Values(parameters(token_url), {name: value for name, value in given.items() if value})


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """keystoneauth1 is imported before the first deadline runs."""
    __import__("keystoneauth1.identity.v3")
    __import__("requests")


@pytest.fixture
def keystone() -> Iterator[Keystone]:
    with Keystone(users={"monitor": PASSWORD}) as server:
        yield server


def made(server: Keystone, **more: str) -> Identity:
    return Identity(values_for(**{**CREDENTIALS, "os_auth_url": server.url, **more}))


def refusal(who: Identity, seconds: float = PLENTY) -> str:
    """Why there is no token: one line without the password."""
    with pytest.raises(NoTokenError) as caught:
        who.token(Deadline(seconds))
    message = str(caught.value)
    assert PASSWORD not in message
    assert one_line(message) == message
    return message


def refused(message: str) -> bool:
    """Whether Keystone is well and does not want the credentials."""
    return message.startswith("Keystone refuses user ")


# --- Identity URLs ------------------------------------------------------------------------------

SUFFIXES = ["", "/", "/v3", "/v3/", "/v2.0", "/v2.0/", "/v2.0/tokens", "/v2.0/tokens/",
            "/v3/auth/tokens", "/v3/auth/tokens/"]


@pytest.mark.parametrize("name", ["os_auth_url", "keystone_get_token_url"])
@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "root", ["http://10.0.0.11:5000", "https://keystone.example.org", "http://h/identity",
             "http://[2001:db8::1]:5000", "http://h:35357/a/b"])
def test_identity_root(root: str, suffix: str, name: str) -> None:
    """Whatever version an Identity URL ends in, the part before is the root."""
    assert root == identity_root(values_for(**{name: root + suffix}))


@pytest.mark.parametrize("blank", [" {}", "{}\n", "\t{} "])
def test_blanks_around_a_url(blank: str) -> None:
    """Blanks around a URL, as they slip in by copying, do no harm."""
    assert "http://h:5000" == identity_root(values_for(os_auth_url=blank.format("http://h:5000/v3")))


@pytest.mark.parametrize(
    ("new", "older"),
    [("http://h:5000/v3", "http://h:5000/v2.0/tokens"), ("http://h:5000/", "http://h:5000")])
def test_both_urls_the_same(new: str, older: str) -> None:
    """Both parameters may be given if they name the same Keystone."""
    values = values_for(os_auth_url=new, keystone_get_token_url=older)
    assert "http://h:5000" == identity_root(values)


def test_both_urls_different() -> None:
    """Two Keystones are one too many, and the message has both names."""
    values = values_for(os_auth_url="http://a:5000/v3",
                        keystone_get_token_url="http://b:5000/v2.0/tokens")
    with pytest.raises(ConfigurationError, match="os_auth_url and keystone_get_token_url"):
        identity_root(values)


def test_default_token_url() -> None:
    """The default of keystone_get_token_url counts only where no os_auth_url is given."""
    assert "http://127.0.0.1:5000" == identity_root(values_for(GUIDE_TOKEN_URL))
    values = values_for(GUIDE_TOKEN_URL, os_auth_url="http://a:5000")
    assert "http://a:5000" == identity_root(values)


NO_URLS = ["nonsense", "10.0.0.11:5000", "//h:5000", "ftp://h:5000", "http://", "http:///v3",
           "http:/h:5000", "http://h:0", "http://h:99999", "http://h:port", "http://h:80:90",
           "http://[::1", "http://a b", "http://h\n/x", "http://h/\u00e4", "http://h/\x7f",
           "file:///etc/passwd", " ", "http://?x", "javascript:alert(1)"]


@pytest.mark.parametrize("name", ["os_auth_url", "keystone_get_token_url"])
@pytest.mark.parametrize("url", NO_URLS, ids=ascii)
def test_no_url(url: str, name: str) -> None:
    """What is no http or https URL is refused with the parameter's name and an example."""
    with pytest.raises(ConfigurationError) as caught:
        identity_root(values_for(**{name: url}))
    assert f"{name} is not an http or https URL, as http://10.0.0.11:5000" == str(caught.value)


@pytest.mark.parametrize("name", ["os_auth_url", "keystone_get_token_url"])
@pytest.mark.parametrize("url", ["http://h:5000?x=1", "http://h:5000/v3?x=1", "http://h:5000#x",
                                 "http://h:5000/v3#x"])
def test_query(url: str, name: str) -> None:
    """A query or a fragment has no place in an Identity URL, which is to be continued."""
    with pytest.raises(ConfigurationError, match=name):
        identity_root(values_for(**{name: url}))


@pytest.mark.parametrize(
    "url", [f"http://monitor:{PASSWORD}@h:5000/v3", f"https://:{PASSWORD}@h",
            f"http://{PASSWORD}@h:5000", f"http://u:{PASSWORD}@h:port/",
            f"http://u:a@{PASSWORD}@h", f"http://u:{PASSWORD}@", f"ftp://u:{PASSWORD}@h"])
def test_password_in_url(url: str) -> None:
    """A URL with a password is refused, and the message has the remedy, not the password."""
    with pytest.raises(ConfigurationError) as caught:
        checked_url("os_auth_url", url)
    assert str(caught.value).startswith("os_auth_url ")
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("url", ["HTTP://h:5000", "HTTPS://h", "Https://H:5000/V3"])
def test_scheme_in_capitals(url: str) -> None:
    """A scheme in capitals means the same, and comes out small: nobody is asked by plain HTTP."""
    assert checked_url("url", url).partition("://")[0] in ("http", "https")


@given(st.text(st.characters(exclude_characters="\0"))
       | st.from_regex(r"https?://[a-z:@\[\]./?#0-9\\%]{0,20}", fullmatch=True))
def test_any_url(url: str) -> None:
    """Whatever is given: a URL of one line, or an error that names the parameter alone."""
    try:
        value = checked_url("os_auth_url", url)
    except ConfigurationError as error:
        assert str(error).startswith("os_auth_url ")
    else:
        assert value.isascii()
        assert value.isprintable()
        assert value.startswith(("http://", "https://"))


# --- credentials --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names", [names for count in range(5) for names in itertools.combinations(CREDENTIALS, count)],
    ids=lambda names: "+".join(names) or "none")
@pytest.mark.parametrize("token_url", ["", GUIDE_TOKEN_URL], ids=["no default", "default"])
def test_halves(names: tuple[str, ...], token_url: str) -> None:
    """None of the credentials, or all of them; for a half, what is missing is told."""
    values = values_for(token_url, **{name: CREDENTIALS[name] for name in names})
    missing = [name for name in CREDENTIALS if name not in names]
    if token_url and "os_auth_url" in missing:
        missing.remove("os_auth_url")
    if not names:
        assert identity(values) is None
    elif not missing:
        assert identity(values) is not None
    else:
        with pytest.raises(ConfigurationError) as caught:
            identity(values)
        assert str(caught.value).startswith(f"{', '.join(missing)} missing: give the user, ")
        assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize("names", [("os_tenant_name", "os_auth_url"),
                                   ("os_project_name", "keystone_get_token_url"),
                                   ("os_tenant_name", "keystone_get_token_url")])
def test_older_names(names: tuple[str, str]) -> None:
    """The older names serve as well as the new ones."""
    project, url = names
    values = values_for(os_username="u", os_password="p",
                        **{project: "service", url: "http://h:5000/v2.0/tokens"})
    found = identity(values)
    assert found is not None
    assert ("u", "http://h:5000") == (found.user, found.url)


def test_project_and_tenant_differ() -> None:
    """Two projects are one too many, and the message has both names."""
    values = values_for(**CREDENTIALS, os_tenant_name="other")
    with pytest.raises(ConfigurationError, match="os_project_name and os_tenant_name differ"):
        identity(values)


def test_project_and_tenant_agree() -> None:
    """The same project under both names is one."""
    assert identity(values_for(**CREDENTIALS, os_tenant_name="service")) is not None


@pytest.mark.parametrize(
    ("given", "verify"),
    [({}, True), ({"os_insecure": "yes"}, False), ({"os_cacert": "/ca.pem"}, "/ca.pem"),
     ({"os_insecure": "true", "os_cacert": "/ca.pem"}, False), ({"os_insecure": "no"}, True)],
    ids=["system", "insecure", "file", "insecure wins", "no"],
)
def test_verification(given: dict[str, str], verify: str | bool) -> None:
    """Certificates are verified by the system's, by a file, or not at all."""
    assert verify == verification(values_for(**given))


@pytest.mark.parametrize("given", [{"os_insecure": "perhaps"}, {"os_cacert": "ca.pem"}])
def test_no_verification(given: dict[str, str]) -> None:
    """A wrong value is not taken for the less secure one."""
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        verification(values_for(**given))


def test_host_without_ca_file() -> None:
    """A file that is not on this node is told with its name."""
    with pytest.raises(NotInstalledError, match="os_cacert=/no/such.pem does not exist"):
        validate_host(values_for(os_cacert="/no/such.pem"))


@pytest.mark.parametrize("package", ["keystoneauth1", "requests"])
def test_package_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package, this node and the token name it, and what to install."""
    import importlib.util
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: None if name == package else real(name))
    message = f"Python package {package} is missing: install python3-{package}"
    validate_host(values_for())
    with pytest.raises(NotInstalledError, match=message):
        validate_host(values_for(**CREDENTIALS))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(NotInstalledError, match=message):
        Identity(values_for(**CREDENTIALS)).token(Deadline(PLENTY))


# --- seals --------------------------------------------------------------------------------------


def test_seal() -> None:
    """A seal is known by its own credentials, holds no password, and differs each time."""
    who = Identity(values_for(**CREDENTIALS))
    one, two = who.seal(), who.seal()
    assert (True, True) == (who.sealed(one), who.sealed(two))
    assert one != two
    assert PASSWORD not in one


@pytest.mark.parametrize(
    ("name", "value"),
    [("os_username", "other"), ("os_password", "other"), ("os_project_name", "other"),
     ("os_auth_url", "http://other:5000"), ("os_user_domain_name", "other"),
     ("os_project_domain_name", "other")])
def test_seal_of_others(name: str, value: str) -> None:
    """Whichever of the credentials is another, the seal is broken."""
    seal = Identity(values_for(**CREDENTIALS)).seal()
    assert not Identity(values_for(**{**CREDENTIALS, name: value})).sealed(seal)


def test_seal_is_not_confused() -> None:
    """Credentials that only together look the same are others."""
    one = Identity(values_for(**{**CREDENTIALS, "os_username": "ab", "os_password": "c"}))
    two = Identity(values_for(**{**CREDENTIALS, "os_username": "a", "os_password": "bc"}))
    assert not two.sealed(one.seal())


@pytest.mark.parametrize("junk", ["", ":", "x", "salt:", ":digest", "a:b:c", "x" * 5000,
                                  "s" * 200 + ":d", "\ud800:x", "M\u00e4rz:x", "\0:x"], ids=ascii)
def test_junk_seal(junk: str) -> None:
    """Junk is nobody's seal."""
    assert not Identity(values_for(**CREDENTIALS)).sealed(junk)


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0"),
                        min_size=1), junk=st.text(st.characters()))
def test_any_seal(password: str, junk: str) -> None:
    """Whatever the password, its seal is known; whatever the junk, it is none."""
    who = Identity(values_for(**{**CREDENTIALS, "os_password": password}))
    assert who.sealed(who.seal())
    assert not who.sealed(junk)


# --- tokens -------------------------------------------------------------------------------------


def test_token(keystone: Keystone) -> None:
    """A Keystone that is well gives a token, for nine tenths of its life."""
    before = time.time()
    token = made(keystone).token(Deadline(PLENTY))
    after = time.time()
    assert keystone.tokens_issued == [token.text]
    assert before + 3200 < token.until < after + 3300
    assert ["/v3/auth/tokens"] == [path.partition("?")[0] for _, path in keystone.requests]


@pytest.mark.parametrize("skew", [-86400, 86400], ids=["a day behind", "a day ahead"])
def test_clock_skew(keystone: Keystone, skew: float) -> None:
    """Keystone's clock may be wrong: a token's life counts from now, by our own clock."""
    keystone.clock_skew = skew
    before = time.time()
    token = made(keystone).token(Deadline(PLENTY))
    assert before + 3200 < token.until < time.time() + 3300


def test_expired(keystone: Keystone) -> None:
    """A token that is issued as already expired is none, and that is Keystone's doing."""
    keystone.token_life = -60
    with pytest.raises(NoTokenError, match="have expired already"):
        made(keystone).token(Deadline(PLENTY))


LET_GO = "Keystone at {url} closes the connection without an answer (its database?)"


@pytest.mark.parametrize(
    ("mode", "unwanted", "message"),
    [
        ("refuse", True, "Keystone refuses user monitor (401)"),
        ("400", True, "Keystone refuses user monitor (400)"),
        ("403", True, "Keystone refuses user monitor (403)"),
        ("404", False, "Keystone at {url} answers 404"),
        ("429", False, "Keystone at {url} answers 429"),
        ("500", False, "Keystone at {url} answers 500"),
        ("502", False, "Keystone at {url} answers 502"),
        ("503", False, "Keystone at {url} answers 503"),
        ("dead", False, "Keystone at {url} cannot be reached"),
        ("reset", False, LET_GO),
        ("close", False, LET_GO),
        ("nonsense", False, "Keystone at {url} "),
        ("wrong_length", False, "Keystone at {url} "),
        ("redirect_loop", False, "Keystone at {url} "),
        ("endless_headers", False, "Keystone at {url} "),
        ("200", False, "Keystone at {url} "),
        ("204", False, "Keystone at {url} "),
        ("300", False, "Keystone at {url} "),
        ("bad_json", False, "Keystone at {url} answers nonsense"),
        ("other_json", False, "Keystone at {url} answers nonsense"),
        ("no_subject", False, "Keystone at {url} "),
        ("no_expiry", False, "Keystone at {url} answers nonsense"),
    ],
)
def test_no_token(keystone: Keystone, mode: str, unwanted: bool, message: str) -> None:
    """What went wrong is told, and whether Keystone refuses or is itself in trouble."""
    keystone.mode = mode
    error = refusal(made(keystone))
    assert unwanted is refused(error)
    assert error.startswith(message.format(url=keystone.url))


@pytest.mark.parametrize("mode", ["hang", "drip", "endless_1xx"])
def test_keystone_without_end(keystone: Keystone, mode: str) -> None:
    """However slowly Keystone answers, it is given up within the deadline."""
    keystone.mode = mode
    begin = time.monotonic()
    error = refusal(made(keystone), 1.5)
    assert time.monotonic() - begin < 60
    assert f"Keystone at {keystone.url} does not answer in time" == error


def test_keystone_says_too_much(keystone: Keystone) -> None:
    """An answer that fills the memory is given up long before it does."""
    keystone.mode = "endless_body"
    assert f"Keystone at {keystone.url} answers without end" == refusal(made(keystone), 60)


def test_no_time_left(keystone: Keystone) -> None:
    """With no time left nobody waits."""
    keystone.mode = "hang"
    assert f"Keystone at {keystone.url} does not answer in time" == refusal(made(keystone), 0)


@pytest.mark.parametrize("given", [{"os_username": "stranger"}, {"os_password": "wrong"},
                                   {"os_project_name": "missing"},
                                   {"os_user_domain_name": "missing"},
                                   {"os_project_domain_name": "missing"}],
                         ids=lambda given: next(iter(given)))
def test_wrong_credentials(keystone: Keystone, given: dict[str, str]) -> None:
    """Whichever of the credentials is wrong, Keystone refuses."""
    assert refused(refusal(made(keystone, **given)))


@pytest.mark.parametrize("name", ["os_user_domain_name", "os_project_domain_name"])
def test_domains(name: str) -> None:
    """User and project may be in other domains than Default."""
    domains = {"os_user_domain_name": "user_domain", "os_project_domain_name": "project_domain"}
    with Keystone(users={"monitor": PASSWORD}, **{domains[name]: "Elsewhere"}) as server:  # type: ignore[arg-type]
        assert refused(refusal(made(server)))
        assert made(server, **{name: "Elsewhere"}).token(Deadline(PLENTY)).text


@pytest.mark.parametrize(
    "password", ["a'b", 'a"b', "a\\b", "a\\nb", "a\nb", " ", "M\u00e4rz \u2603 \U0001f511", "$(id)",
                 "%s%n{0}", "</x>&amp;", "x" * 5000, "\x01\x1f\x7f"], ids=ascii)
def test_any_password(password: str) -> None:
    """A password reaches Keystone as it is, whatever its characters."""
    with Keystone(users={"monitor": password}) as server:
        token = made(server, os_password=password).token(Deadline(PLENTY))
        assert server.tokens_issued == [token.text]


@pytest.mark.parametrize("user", ["a'b", "M\u00e4rz", "two\nlines"], ids=ascii)
def test_any_user(keystone: Keystone, user: str) -> None:
    """A user name reaches Keystone as it is."""
    keystone.users[user] = PASSWORD
    assert made(keystone, os_username=user).token(Deadline(PLENTY)).text


def test_path_prefix(keystone: Keystone) -> None:
    """A Keystone below a path is asked there."""
    error = refusal(made(keystone, os_auth_url=keystone.url + "/identity/v3/"))
    assert f"Keystone at {keystone.url}/identity answers 404" == error
    assert ["/identity/v3/auth/tokens"] == [p.partition("?")[0] for _, p in keystone.requests]


def test_proxy_and_netrc(
    keystone: Keystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither a proxy nor a .netrc nor a CA bundle of the environment has a say."""
    (tmp_path / ".netrc").write_text("default login stranger password wrong\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    assert made(keystone).token(Deadline(PLENTY)).text


def test_name_that_does_not_resolve() -> None:
    """A Keystone whose name does not resolve cannot be reached."""
    who = Identity(values_for(**{**CREDENTIALS, "os_auth_url": "http://keystone.invalid:5000"}))
    assert refusal(who, 20).startswith("Keystone at http://keystone.invalid:5000 ")


def test_ipv6() -> None:
    """A Keystone on IPv6 is asked as any other."""
    try:
        server = Keystone(users={"monitor": PASSWORD}, host="::1")
    except OSError as error:
        pytest.fail(f"no ::1 here ({error}): {GIVE_IPV6}")
    with server:
        assert made(server).token(Deadline(PLENTY)).text


# --- TLS ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate that nobody has signed but itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    paths = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-out", paths[0], "-keyout", paths[1]], check=True, capture_output=True)
    return paths


@pytest.fixture
def secure(certificate: tuple[str, str]) -> Iterator[Keystone]:
    with Keystone(users={"monitor": PASSWORD}, certfile=certificate[0],
                  keyfile=certificate[1]) as server:
        yield server


def test_unknown_certificate(secure: Keystone) -> None:
    """A certificate that nobody vouches for is not accepted, and no password is sent."""
    said = f"Keystone at {secure.url} has a TLS certificate that is not accepted"
    assert said == refusal(made(secure))
    assert [] == secure.requests


def test_known_certificate(secure: Keystone, certificate: tuple[str, str]) -> None:
    """With os_cacert it is accepted."""
    assert made(secure, os_cacert=certificate[0]).token(Deadline(PLENTY)).text


def test_insecure(secure: Keystone) -> None:
    """With os_insecure any certificate is accepted."""
    assert made(secure, os_insecure="yes").token(Deadline(PLENTY)).text


def test_insecure_says_nothing(secure: Keystone, recwarn: pytest.WarningsRecorder) -> None:
    """What the operator has asked for is not warned of at each monitor."""
    made(secure, os_insecure="yes").token(Deadline(PLENTY))
    assert [] == [str(warning.message) for warning in recwarn]


def test_missing_ca_file(secure: Keystone) -> None:
    """A CA file that is not there is told of by name, instead of blaming Keystone's answer."""
    with pytest.raises(NotInstalledError, match="os_cacert=/no/such.pem"):
        made(secure, os_cacert="/no/such.pem").token(Deadline(PLENTY))


def test_nonsense_ca_file(secure: Keystone, tmp_path: Path) -> None:
    """A CA file that is none vouches for nobody."""
    path = tmp_path / "ca.pem"
    path.write_text("nonsense\n")
    with pytest.raises((NoTokenError, NotInstalledError), match="TLS certificate|os_cacert="):
        made(secure, os_cacert=str(path)).token(Deadline(PLENTY))
    assert [] == secure.requests


def test_wrong_scheme(keystone: Keystone, secure: Keystone) -> None:
    """https to a server that speaks http, and the reverse, is no token and no traceback."""
    swapped = keystone.url.replace("http://", "https://")
    error = refusal(made(keystone, os_auth_url=swapped, os_insecure="yes"), 1.5)
    assert error.startswith(f"Keystone at {swapped}")
    swapped = secure.url.replace("https://", "http://")
    assert refusal(made(secure, os_auth_url=swapped), 1.5).startswith(f"Keystone at {swapped}")


def test_token_record() -> None:
    """A Token is its text and its end."""
    token = Token("x", 5.0)
    assert ("x", 5.0) == (token.text, token.until)


def test_parameters_are_the_monitors() -> None:
    """Every parameter of the credentials can be changed without a restart."""
    declared = parameters()
    assert {True} == {parameter.reloadable for parameter in declared}
    assert {"os_username", "os_password", "os_project_name", "os_tenant_name", "os_auth_url",
            "keystone_get_token_url", "os_user_domain_name", "os_project_domain_name",
            "os_region_name", "os_cacert", "os_insecure"} == {p.name for p in declared}
    assert "http://127.0.0.1:5000/v2.0/tokens" == module.GUIDE_TOKEN_URL


def test_no_eventlet() -> None:
    """What fetches a token brings no eventlet, whose import puts other modules in our way.

    Asked of the distribution's Python: its keystoneauth1 would take osprofiler, and that eventlet.
    """
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from agentlib.keystone import Identity, _keystoneauth, parameters\n"
        "from agentlib.parameters import Values\n"
        "given = {'os_username': 'u', 'os_password': 'p', 'os_project_name': 'x',"
        " 'os_auth_url': 'http://127.0.0.1:1'}\n"
        "_keystoneauth(Identity(Values(parameters(), given)), 1.0)\n"
        "print('keystoneauth1' in sys.modules, 'eventlet' in sys.modules)")
    said = subprocess.run(
        ["/usr/bin/python3", "-EsBc", code], check=True, capture_output=True, text=True).stdout
    assert "True False\n" == said
