"""Who is served: [keystone_authtoken], and whether an API asks for a token at all. Rows A and P."""

from __future__ import annotations

from collections.abc import Iterator

from .configuration import Configuration
from .errors import CannotLookError, UsageError
from .finding import ERROR, UNKNOWN, Finding
from .identity import Keystone, RefusedError, User, anonymous, in_time
from .outdated import AUTH
from .rows import found
from .servers import blame, host_of
from .subject import Subject, Surroundings
from .words import shown

_SECOND = {"heat-api-cfn", "nova-api-metadata", "keystone"}
"""APIs that do not ask Keystone in this way."""
_PASSWORD, _V3 = "password", "v3password"
"""Those of auth_type that this looks at. The first takes one domain for both, too."""
_BOTH = ("default_domain_name", "default_domain_id")
_NEEDED = (("auth_url",), ("username", "user_id"), ("password",), ("project_name", "project_id"),
           ("user_domain_name", "user_domain_id"), ("project_domain_name", "project_domain_id"))
_STRATEGY = {**dict.fromkeys(("cinder-api", "neutron-server", "manila-api", "ironic-api",
                              "masakari-api"), ("DEFAULT", "auth_strategy")),
             "nova-api": ("api", "auth_strategy"), "placement-api": ("api", "auth_strategy"),
             "aodh-api": ("api", "auth_mode"), "gnocchi-api": ("api", "auth_mode"),
             "octavia-api": ("api_settings", "auth_strategy"),
             "designate-api": ("service:api", "auth_strategy")}
_UNSET = {"gnocchi-api": "basic"}
"""APIs that by default ask for something else: this one for the name of a user, and believes it."""
_OPEN = {"glance-api": "/v2/images", "cinder-api": "/v3/volumes"}
"""Paths that no API serves without a token."""


def access(subject: Subject, around: Surroundings) -> Iterator[Finding]:
    """A1, A2, A3, A5, P1, P2: what the files say."""
    if not subject.agent.api or subject.agent.name == "keystone":
        return
    if subject.agent.name not in _SECOND and _strategy(subject)[0] == "keystone":
        yield from _authtoken(subject, around)
    yield from _door(subject)


def token(subject: Subject) -> Iterator[Finding]:
    """A4: whether the service's own user gets a token; T1: whether Keystone has the same time."""
    if not subject.agent.api or subject.agent.name in _SECOND:
        return
    user = _user(subject.config)
    if user is None:
        return
    where = subject.config.where(AUTH, "username")
    try:
        with in_time(60):
            keystone = Keystone(user)
            keystone.token()
            behind = keystone.behind()
    except RefusedError as error:
        yield found("A4", where, str(error), "Set username, password, project and domains to "
                    "those of a user that Keystone knows.")
    except CannotLookError as error:
        yield found("A4", where, str(error), "Look whether Keystone runs, and at auth_url.",
                    UNKNOWN)
    except UsageError as error:
        yield found("A4", subject.config.where(AUTH, "cafile"), str(error),
                    "Name a PEM file with Keystone's CA certificate, one that this node has.")
    else:
        if abs(behind) > 30:
            yield found("T1", "clock", f"this node's clock is {abs(behind):.0f} s "
                        f"{'behind' if behind > 0 else 'before'} that of Keystone's node",
                        "Synchronise both, by chrony for instance.")


def open_door(subject: Subject) -> Iterator[Finding]:
    """P1, P2: whether the running API serves without a token; nothing where it does not answer."""
    path = _OPEN.get(subject.agent.name)
    for vip in subject.vips if path else ():
        host = f"[{vip}]" if vip.version == 6 else str(vip)
        if anonymous(f"http://{host}:{subject.port}{path}") == 200:
            id_, say = _answer(subject)
            yield found(id_, f"http://{host}:{subject.port}{path}",
                        "it serves without a token", say)


def _answer(subject: Subject) -> tuple[str, str]:
    if subject.agent.name == "glance-api":
        return "P1", "Write: [paste_deploy] flavor = keystone; then restart it on every node."
    return "P2", "Write: auth_strategy = keystone; then restart it on every node."


def _authtoken(subject: Subject, around: Surroundings) -> Iterator[Finding]:
    config = subject.config
    section = AUTH
    if other := config.get(AUTH, "auth_section").text:
        section = other
    kind = config.get(section, "auth_type")
    if not kind.text:
        yield found("A1", kind.where, "auth_type is not set", "Write: auth_type = password")
    elif kind.text in (_PASSWORD, _V3):
        for names in _NEEDED:
            spare = _BOTH if "domain" in names[0] and kind.text == _PASSWORD else ()
            if not any(config.get(section, name).text for name in (*names, *spare)):
                yield found("A2", config.where(section, names[0]), f"{names[0]} is not set",
                            f"Write: {names[0]} = {_example(names[0], subject)}")
    for name, at in (("auth_url", section), ("www_authenticate_uri", AUTH)):
        value = config.get(at, name)
        if value.text:
            yield from _keystone(name, value.text, value.where, subject, around)


def _keystone(name: str, url: str, where: str, subject: Subject,
              around: Surroundings) -> Iterator[Finding]:
    """A5, and A3 for what is old in the URL."""
    host = host_of(url)
    if not host or not url.startswith(("http://", "https://")):
        yield found("A2", where, f"{name} is no http or https URL",
                    "Write: http://KEYSTONE'S_VIRTUAL_IP:5000", ERROR)
        return
    if url.rstrip("/").endswith("/v2.0"):
        yield found("A3", where, f"{name} ends in /v2.0, which Keystone has no longer",
                    "Take the end off: clients find the version.")
    if ":35357" in url:
        yield found("A3", where, f"{name} has the port 35357, which Keystone has no longer",
                    "Write the port 5000.")
    if not subject.ha:
        return
    wrong, severity = blame(host, around)
    best = min(around.keystone, default="KEYSTONE'S_VIRTUAL_IP")
    say = f"Write: {name} = http://{best}:5000"
    if wrong:
        yield found("A5", where, f"{name}: {shown(host)} is {wrong}", say, severity)
    elif around.keystone and host not in around.keystone:
        yield found("A5", where, f"{name}: {shown(host)} is not Keystone's virtual IP", say)


def _strategy(subject: Subject) -> tuple[str, str]:
    """How an API authenticates its clients, and the place of the option."""
    if subject.agent.name not in _STRATEGY:
        return "keystone", ""
    value = subject.config.get(*_STRATEGY[subject.agent.name], "keystone")
    text = value.text if value.given else _UNSET.get(subject.agent.name, value.text)
    return text, value.where


def _door(subject: Subject) -> Iterator[Finding]:
    if subject.agent.name == "glance-api":
        flavor = subject.config.get("paste_deploy", "flavor")
        if "keystone" not in flavor.text.split("+")[0]:
            seen = f"flavor is {shown(flavor.text)}" if flavor.text else "flavor is not set"
            yield found("P1", flavor.where, f"{seen}: everybody is served, without a token",
                        "Write: [paste_deploy] flavor = keystone")
    strategy, where = _strategy(subject)
    if strategy != "keystone":
        yield found("P2", where, f"{where.rpartition('/')[2]} is {shown(strategy)}: everybody is "
                    "served, without a token", f"Write: {where.rpartition('/')[2]} = keystone")


def _example(name: str, subject: Subject) -> str:
    return {"auth_url": "http://KEYSTONE'S_VIRTUAL_IP:5000", "username": subject.project,
            "password": "...", "project_name": "service"}.get(name, "Default")


def _user(config: Configuration) -> User | None:
    """The service's own user, None if the section does not say one."""
    section = config.get(AUTH, "auth_section").text or AUTH

    def get(name: str) -> str:
        return config.get(section, name).text

    if get("auth_type") not in (_PASSWORD, _V3) or not all(
            get(name) for name in ("auth_url", "username", "password", "project_name")):
        return None
    both = _BOTH if get("auth_type") == _PASSWORD else ()
    domains = []
    for whose in ("user", "project"):
        names = (f"{whose}_domain_name", f"{whose}_domain_id", *both)
        name = next(filter(get, names), "")
        domain = get(name) if name else "Default"
        if name.endswith("_id"):
            # Of an id only that of the first domain is known; it is `default` everywhere.
            domain = "Default" if domain.lower() == "default" else ""
        if not domain:
            return None
        domains.append(domain)
    return User(get("auth_url"), get("username"), get("password"), get("project_name"),
                domains[0], domains[1], get("cafile"), "cafile")
