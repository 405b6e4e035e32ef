"""Credentials and Identity URLs: parameters and their values."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.credentials import (
    GUIDE_TOKEN_URL,
    Identity,
    checked_url,
    identity,
    identity_root,
    parameters,
    validate_host,
    verification,
)
from agentlib.errors import ConfigurationError, NotInstalledError
from agentlib.parameters import Values
from unit.kit import CREDENTIALS, PASSWORD


def values_for(token_url: str = "", /, **given: str) -> Values:
    return Values(parameters(token_url), {name: value for name, value in given.items() if value})


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
    """Two different Keystones are refused, and the message names both parameters."""
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
    """A query or a fragment is refused in an Identity URL: paths are appended to it."""
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
    message = str(caught.value)
    assert re.match("os_auth_url .*(: take it out, give os_username|, as http://)", message)
    assert PASSWORD not in message


@pytest.mark.parametrize("url", ["HTTP://h:5000", "HTTPS://h", "Https://H:5000/V3"])
def test_scheme_in_capitals(url: str) -> None:
    """A scheme in capitals is made lower case: HTTPS must not become plain HTTP."""
    scheme, _, rest = url.partition("://")
    assert f"{scheme.lower()}://{rest}" == checked_url("url", url)


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


def test_parameters_are_the_monitors() -> None:
    """Every parameter of the credentials can be changed without a restart."""
    declared = parameters()
    assert {True} == {parameter.reloadable for parameter in declared}
    assert {"os_username", "os_password", "os_project_name", "os_tenant_name", "os_auth_url",
            "keystone_get_token_url", "os_user_domain_name", "os_project_domain_name",
            "os_domain", "os_region_name", "os_cacert", "os_insecure"} == {p.name for p in declared}
    assert "http://127.0.0.1:5000/v2.0/tokens" == GUIDE_TOKEN_URL

@pytest.mark.parametrize(
    "names", [names for count in range(5) for names in itertools.combinations(CREDENTIALS, count)],
    ids=lambda names: "+".join(names) or "none")
@pytest.mark.parametrize("token_url", ["", GUIDE_TOKEN_URL], ids=["no default", "default"])
def test_halves(names: tuple[str, ...], token_url: str) -> None:
    """None of the credentials, or all of them; otherwise the message names what is missing."""
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
        assert str(caught.value).startswith(f"{', '.join(missing)} missing: give all of ")
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


@pytest.mark.parametrize(
    ("given", "domains"),
    [({}, ("Default", "Default")), ({"os_domain": "a"}, ("a", "a")),
     ({"os_domain": "a", "os_user_domain_name": "b"}, ("b", "a")),
     ({"os_domain": "a", "os_project_domain_name": "b"}, ("a", "b"))])
def test_domains(given: dict[str, str], domains: tuple[str, str]) -> None:
    """The older os_domain is that of user and project, where the newer names are not given."""
    found = identity(values_for(**CREDENTIALS, **given))
    assert found is not None
    assert domains == (found.user_domain, found.project_domain)


def test_project_and_tenant_differ() -> None:
    """Two different projects are refused, and the message names both parameters."""
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
    """Certificates are verified by the system's authorities, by a file, or not at all."""
    assert verify == verification(values_for(**given))


@pytest.mark.parametrize("given", [{"os_insecure": "perhaps"}, {"os_cacert": "ca.pem"}])
def test_no_verification(given: dict[str, str]) -> None:
    """A wrong value is an error, and does not turn verification off."""
    with pytest.raises(ConfigurationError, match=next(iter(given))):
        verification(values_for(**given))


def test_host_without_ca_file() -> None:
    """A CA file that is not on this node is named in the error."""
    with pytest.raises(NotInstalledError, match="os_cacert=/no/such.pem does not exist"):
        validate_host(values_for(os_cacert="/no/such.pem"))


@pytest.mark.parametrize("package", ["keystoneauth1", "requests"])
def test_package_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing package is an error that says what to install, if credentials are given."""
    import importlib.util
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec",
                        lambda name: None if name == package else real(name))
    validate_host(values_for())
    message = f"Python package {package} is missing: install python3-{package}"
    with pytest.raises(NotInstalledError, match=message):
        validate_host(values_for(**CREDENTIALS))


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
    """If one of the credentials differs, whichever it is, the seal does not match."""
    seal = Identity(values_for(**CREDENTIALS)).seal()
    assert not Identity(values_for(**{**CREDENTIALS, name: value})).sealed(seal)


def test_seal_is_not_confused() -> None:
    """Credentials that are equal only when joined to one text have different seals."""
    one = Identity(values_for(**{**CREDENTIALS, "os_username": "ab", "os_password": "c"}))
    two = Identity(values_for(**{**CREDENTIALS, "os_username": "a", "os_password": "bc"}))
    assert not two.sealed(one.seal())


@pytest.mark.parametrize("junk", ["", ":", "x", "salt:", ":digest", "a:b:c", "x" * 5000,
                                  "s" * 200 + ":d", "\ud800:x", "M\u00e4rz:x", "\0:x"], ids=ascii)
def test_junk_seal(junk: str) -> None:
    """Junk is no valid seal."""
    assert not Identity(values_for(**CREDENTIALS)).sealed(junk)


@given(password=st.text(st.characters(codec="utf-8", exclude_characters="\0"),
                        min_size=1), junk=st.text(st.characters()))
def test_any_seal(password: str, junk: str) -> None:
    """The seal of any password is accepted with it; any junk is no seal."""
    who = Identity(values_for(**{**CREDENTIALS, "os_password": password}))
    assert who.sealed(who.seal())
    assert not who.sealed(junk)
