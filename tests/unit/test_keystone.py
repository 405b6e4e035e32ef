"""Tokens, new ones and those that are kept; with the look-alike of Keystone."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from agentlib.credentials import Identity, parameters
from agentlib.deadline import Deadline
from agentlib.errors import NotInstalledError
from agentlib.keystone import NoTokenError, Token, issue, kept
from agentlib.parameters import Values
from agentlib.reason import one_line
from lookalike.keystone import Keystone
from unit.kit import CREDENTIALS, PASSWORD, ROOT

pytestmark = pytest.mark.usefixtures("imported")

PLENTY = 120.0


def values_for(**given: str) -> Values:
    return Values(parameters(), given)


def made(server: Keystone, **more: str) -> Identity:
    return Identity(values_for(**{**CREDENTIALS, "os_auth_url": server.url, **more}))


def refusal(who: Identity, seconds: float = PLENTY) -> str:
    """Why there is no token: one line without the password."""
    with pytest.raises(NoTokenError) as caught:
        issue(who, Deadline(seconds))
    message = str(caught.value)
    assert PASSWORD not in message
    assert one_line(message) == message
    return message


def refused(message: str) -> bool:
    """Whether Keystone is well and does not want the credentials."""
    return message.startswith("Keystone refuses user ")


# --- tokens -------------------------------------------------------------------------------------


def test_token(keystone: Keystone) -> None:
    """A Keystone that is well gives a token, for nine tenths of its life."""
    before = time.time()
    token = issue(made(keystone), Deadline(PLENTY))
    after = time.time()
    assert keystone.tokens_issued == [token.text]
    assert before + 3200 < token.until < after + 3300
    assert ["/v3/auth/tokens"] == [path.partition("?")[0] for _, path in keystone.requests]


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
    """The error says what went wrong, and whether Keystone refuses or is itself in trouble."""
    keystone.mode = mode
    error = refusal(made(keystone))
    assert unwanted is refused(error)
    assert error.startswith(message.format(url=keystone.url))


def test_keystone_says_too_much(keystone: Keystone) -> None:
    """An endless answer is given up long before it fills the memory."""
    keystone.mode = "endless_body"
    assert f"Keystone at {keystone.url} answers without end" == refusal(made(keystone), 60)


def test_no_time_left(keystone: Keystone) -> None:
    """With no time left there is no wait."""
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
    with Keystone(users={"monitor": PASSWORD}, **{domains[name]: "Elsewhere"}) as server:
        assert refused(refusal(made(server)))
        assert issue(made(server, **{name: "Elsewhere"}), Deadline(PLENTY)).text


@pytest.mark.parametrize("user", ["a'b", "M\u00e4rz", "two\nlines"], ids=ascii)
def test_any_user(keystone: Keystone, user: str) -> None:
    """A user name reaches Keystone as it is."""
    keystone.users[user] = PASSWORD
    assert issue(made(keystone, os_username=user), Deadline(PLENTY)).text


def test_path_prefix(keystone: Keystone) -> None:
    """A Keystone below a path is asked there."""
    error = refusal(made(keystone, os_auth_url=keystone.url + "/identity/v3/"))
    assert f"Keystone at {keystone.url}/identity answers 404" == error
    assert ["/identity/v3/auth/tokens"] == [p.partition("?")[0] for _, p in keystone.requests]


def test_proxy_and_netrc(
    keystone: Keystone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A proxy, a .netrc and a CA bundle of the environment are ignored."""
    (tmp_path / ".netrc").write_text("default login stranger password wrong\n")
    (tmp_path / ".netrc").chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/no/such.pem")
    assert issue(made(keystone), Deadline(PLENTY)).text


@pytest.mark.parametrize("package", ["keystoneauth1", "requests"])
def test_package_missing(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a package there is no token, and the error names it, and what to install."""
    monkeypatch.setitem(sys.modules, package, None)
    message = f"Python package {package} is missing: install python3-{package}"
    with pytest.raises(NotInstalledError, match=message):
        issue(Identity(values_for(**CREDENTIALS)), Deadline(PLENTY))


# --- TLS ----------------------------------------------------------------------------------------


def test_unknown_certificate(secure: Keystone) -> None:
    """A certificate of no known authority is not accepted, and no password is sent."""
    said = f"Keystone at {secure.url} cannot be asked: self-signed certificate"
    assert said == refusal(made(secure))
    assert [] == secure.requests


def test_insecure_says_nothing(secure: Keystone, recwarn: pytest.WarningsRecorder) -> None:
    """os_insecure, which the operator has asked for, gives no warning at each monitor."""
    issue(made(secure, os_insecure="yes"), Deadline(PLENTY))
    assert [] == [str(warning.message) for warning in recwarn]


def test_nonsense_ca_file(secure: Keystone, tmp_path: Path) -> None:
    """With a CA file that is nonsense no certificate is accepted."""
    path = tmp_path / "ca.pem"
    path.write_text("nonsense\n")
    with pytest.raises((NoTokenError, NotInstalledError), match="certificate|os_cacert="):
        issue(made(secure, os_cacert=str(path)), Deadline(PLENTY))
    assert [] == secure.requests


# --- tokens that are kept -----------------------------------------------------------------------


def memory_of(who: Identity, until: float = 1e10) -> dict[str, Any]:
    """What a check remembers of a token of these credentials."""
    memory: dict[str, Any] = {}
    Token("gAAAA", until, "0123abcd", "4567-ef").keep(memory, who)
    return memory


def test_token_record() -> None:
    """A Token is its text and its end, and its project and user as far as they are known."""
    token = Token("x", 5.0)
    assert ("x", 5.0, "", "") == (token.text, token.until, token.project, token.user)


def test_kept() -> None:
    """A token that is kept comes back whole, also through the state file."""
    who = Identity(values_for(**CREDENTIALS))
    found = kept(json.loads(json.dumps(memory_of(who))), who)
    assert found is not None
    assert ("gAAAA", 1e10, "0123abcd", "4567-ef") == (
        found.text, found.until, found.project, found.user)


def test_new_token_takes_the_place(keystone: Keystone) -> None:
    """A new token replaces everything that was learned with another."""
    who = made(keystone)
    memory = {"token": "old", "anonymous": "refused", "junk": 1}
    token = issue(who, Deadline(PLENTY))
    token.keep(memory, who)
    assert {"token", "until", "project", "user", "seal"} == set(memory)
    found = kept(memory, who)
    assert found is not None
    assert token.text == found.text


NO_TEXTS: list[object] = [None, True, False, 1, 1.5, [], {}, [1], {"a": 1}]
NO_MOMENTS: list[object] = [math.nan, math.inf, -math.inf, 1e400, 1e11, 10**400, "1e10", "NaN",
                            None, True, [], {}]


@pytest.mark.parametrize("value", [*NO_TEXTS, "", "two\nlines", "\0", "M\u00e4rz", "\ud800"],
                         ids=ascii)
def test_kept_is_no_token(value: object) -> None:
    """A value that cannot be a token is not used, of whatever type it is."""
    who = Identity(values_for(**CREDENTIALS))
    assert kept({**memory_of(who), "token": value}, who) is None


@pytest.mark.parametrize("value", NO_MOMENTS, ids=ascii)
def test_kept_without_end(value: object) -> None:
    """A token whose end is no valid time is not used at all."""
    who = Identity(values_for(**CREDENTIALS))
    assert kept({**memory_of(who), "until": value}, who) is None


@pytest.mark.parametrize("value", [*NO_TEXTS, "", "\ud800:junk", ":", "salt:"], ids=ascii)
def test_kept_without_seal(value: object) -> None:
    """A token that is not known to be of these credentials is not used."""
    who = Identity(values_for(**CREDENTIALS))
    assert kept({**memory_of(who), "seal": value}, who) is None


@pytest.mark.parametrize("name", ["token", "until", "seal"])
def test_kept_in_part(name: str) -> None:
    """A token of which a part is not remembered is not used."""
    who = Identity(values_for(**CREDENTIALS))
    memory = memory_of(who)
    del memory[name]
    assert kept(memory, who) is None


def test_kept_of_others() -> None:
    """A token of other credentials, or past its time, is not used."""
    who = Identity(values_for(**CREDENTIALS))
    other = Identity(values_for(**{**CREDENTIALS, "os_password": "former"}))
    assert kept(memory_of(other), who) is None
    assert kept(memory_of(who, until=time.time() - 1), who) is None
    assert kept(memory_of(who, until=time.time() + 60), who) is not None


@pytest.mark.parametrize("value", [*NO_TEXTS, "", "../x", "a b", "a?b", "a/b", "\u00e4", "\ud800",
                                   "{user_id}"], ids=ascii)
@pytest.mark.parametrize("name", ["project", "user"])
def test_kept_owner(name: str, value: object) -> None:
    """An id that cannot stand in a path is left out, and the token serves all the same."""
    who = Identity(values_for(**CREDENTIALS))
    found = kept({**memory_of(who), name: value}, who)
    assert found is not None
    assert "" == getattr(found, name)


def test_no_eventlet() -> None:
    """To fetch a token loads no eventlet, whose import would change other modules.

    Run by the distribution's Python: its keystoneauth1 would load osprofiler, and that eventlet.
    """
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from agentlib.credentials import Identity, parameters\n"
        "from agentlib.keystone import client\n"
        "from agentlib.parameters import Values\n"
        "given = {'os_username': 'u', 'os_password': 'p', 'os_project_name': 'x',"
        " 'os_auth_url': 'http://127.0.0.1:1'}\n"
        "client(Identity(Values(parameters(), given)), 1.0)\n"
        "print('keystoneauth1' in sys.modules, 'eventlet' in sys.modules)")
    said = subprocess.run(
        ["/usr/bin/python3", "-EsBc", code], check=True, capture_output=True, text=True).stdout
    assert "True False\n" == said
