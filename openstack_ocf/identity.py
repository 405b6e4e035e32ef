"""Keystone, asked over its API v3: a token, services, endpoints.

With the agents' client of keystoneauth1; openstacksdk would do the same with 0.9 s more of imports,
and six requests are all there is. Called by `access` (does a service's own user get a token?),
`endpoints` and `cloudverbs`.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

from agentlib import credentials
from agentlib.errors import ConfigurationError, NotInstalledError
from agentlib.keystone import BadAnswerError, client

from .errors import CannotLookError, UsageError
from .run import waiting
from .words import hidden, shown

TIMEOUT = 20.0
"""Seconds for one answer."""
WHOLE = 120
"""Seconds for all of a command's requests: a peer that sends a byte now and then ends, too."""
LIMIT = 16 << 20
"""Bytes of an answer; an endpoint takes 400, and without a limit of its own Keystone lists all."""
_PAGES = 1000


@dataclass(frozen=True)
class User:
    """A user, its project and its domains, and where Keystone is; the password is not shown.

    cacert: a file with CA certificates; empty: the system's. option: what says so.
    """

    url: str
    user: str
    password: str
    project: str
    user_domain: str = "Default"
    project_domain: str = "Default"
    cacert: str = ""
    option: str = "OS_CACERT"

    def __repr__(self) -> str:
        return f"User({self.user!r} at {hidden(self.url)!r})"

    @property
    def verify(self) -> str | bool:
        """How https is verified."""
        return self.cacert or True


class RefusedError(CannotLookError):
    """Keystone, or its policy, refuses a user."""


class Keystone:
    """A Keystone, asked as one user."""

    def __init__(self, user: User) -> None:
        """CannotLookError where keystoneauth1 is missing.

        The methods raise RefusedError, CannotLookError, and UsageError for a CA file that is none.
        """
        self._user = replace(user, url=credentials.without_version(user.url))
        self._url = f"{self._user.url}/v3"
        self._shown = f"Keystone at {shown(hidden(self._url))}"
        try:
            self._session, self._auth, self._exceptions = client(self._user, TIMEOUT, LIMIT)
        except NotInstalledError as error:
            raise CannotLookError(str(error)) from error

    def token(self) -> str:
        """A token."""
        with self._told("no token"):
            return str(self._session.get_token(self._auth))

    def project(self) -> str:
        """The id of the user's project."""
        with self._told("no token"):
            return str(self._session.get_project_id(self._auth))

    def behind(self) -> float:
        """By how many seconds this node's clock is behind Keystone's (negative: before it)."""
        with self._told("no version document"):
            answer = self._session.get(self._url, authenticated=False)
        try:
            theirs = parsedate_to_datetime(answer.headers.get("Date", "")).timestamp()
        except (TypeError, ValueError, IndexError):
            return 0.0
        return theirs - time.time()

    def all(self, kind: str) -> list[dict[str, Any]]:
        """All `services`, `endpoints` or `regions`, of all pages."""
        found: list[dict[str, Any]] = []
        url: str = f"{self._url}/{kind}"
        for _ in range(_PAGES):
            answer = self._call("GET", url)
            page = answer.get(kind)
            if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
                raise CannotLookError(f"{self._shown} lists no {kind}")
            found += page
            links = answer.get("links")
            following = links.get("next") if isinstance(links, dict) else None
            # Only to the same server: the token is in the request.
            if not isinstance(following, str) or not following.startswith(f"{self._url}/"):
                return found
            url = following
        raise CannotLookError(f"{self._shown} has no end of {kind}")

    def catalog(self) -> list[dict[str, Any]]:
        """The catalogue as it goes with a token, which every user may see."""
        found = self._call("GET", f"{self._url}/auth/catalog").get("catalog")
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise CannotLookError(f"{self._shown} shows no catalogue")
        return found

    def change(self, id_: str, url: str) -> None:
        """Give an endpoint another URL."""
        self._call("PATCH", f"{self._url}/endpoints/{id_}", {"endpoint": {"url": url}})

    def create(self, endpoint: Mapping[str, str]) -> str:
        """Make an endpoint of an existing service; its id."""
        made = self._call("POST", f"{self._url}/endpoints", {"endpoint": dict(endpoint)})
        return str(made.get("endpoint", {}).get("id", ""))

    def _call(self, method: str, url: str, body: object = None) -> dict[str, Any]:
        with self._told(f"{method} {url[len(self._url):]}"):
            answer = self._session.request(url, method, json=body, auth=self._auth)
            found = answer.json()
        if not isinstance(found, dict):
            raise CannotLookError(f"{self._shown}: {method} is no JSON object")
        return found

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """What goes wrong, as one sentence without a secret."""
        from urllib3.exceptions import TimeoutError as SlowError

        exceptions = self._exceptions
        where = self._shown
        name = shown(self._user.user)
        try:
            self._verifiable()
            yield
        except UsageError:
            raise
        except exceptions.Unauthorized as error:
            raise RefusedError(f"{where} refuses the user {name}") from error
        except exceptions.Forbidden as error:
            raise RefusedError(f"{where}: the user {name} may not do this ({what})") from error
        except exceptions.HttpError as error:
            raise CannotLookError(f"{where}: {what} is answered {error.http_status}") from error
        except (exceptions.ConnectTimeout, SlowError, TimeoutError) as error:
            raise CannotLookError(f"{where} does not answer in time") from error
        except exceptions.ConnectionError as error:
            raise CannotLookError(f"{where} cannot be reached") from error
        except BadAnswerError as error:
            raise CannotLookError(f"{where} {error}") from error
        except Exception as error:  # what a peer says can break it anywhere
            raise CannotLookError(f"{where}: the answer makes no sense ({what}, "
                                  f"{type(error).__name__})") from error

    def _verifiable(self) -> None:
        """UsageError for a CA file that is none, where there is something to verify."""
        if self._user.cacert and self._url.startswith("https:"):
            try:
                credentials.tls(self._user.cacert)
            except ConfigurationError as error:
                what = "holds no certificate" if os.path.isfile(self._user.cacert) else "is no file"
                raise UsageError(
                    f"{self._user.option}: {shown(self._user.cacert)} {what}") from error


@contextmanager
def in_time(seconds: int = WHOLE) -> Iterator[None]:
    """End what takes longer, whatever it waits for; CannotLookError. For the main thread."""
    def late(*_: object) -> None:
        raise _LateError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        with waiting("an answer"):
            yield
    except _LateError:
        raise CannotLookError(f"no answer within {seconds} s") from None
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class _LateError(BaseException):
    """The time is over; no `except Exception` of a library catches it."""


def user(variables: Mapping[str, str], password: str) -> User:
    """A user from the parameters that `openrc` reads."""
    return User(
        url=variables.get("os_auth_url", ""), user=variables.get("os_username", ""),
        password=password, project=variables.get("os_project_name", ""),
        user_domain=variables.get("os_user_domain_name") or "Default",
        project_domain=variables.get("os_project_domain_name") or "Default",
        cacert=variables.get("os_cacert", ""))


def anonymous(url: str, cacert: str = "") -> int:
    """The status of a GET without a token; 0 where nothing answers, -1 for its certificate."""
    import requests

    session = requests.Session()
    # No proxy, and no login from ~/.netrc: the request must be anonymous.
    session.trust_env = False
    try:
        with in_time(int(TIMEOUT)), session.get(
                url, timeout=TIMEOUT, verify=cacert or True, stream=True,
                allow_redirects=False) as answer:
            return int(answer.status_code)
    except requests.exceptions.SSLError:
        return -1
    except (requests.exceptions.RequestException, CannotLookError, OSError, ValueError):
        return 0
