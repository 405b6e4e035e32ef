"""What every check has: parameters, and two questions: is it ready, and does it serve?

A check is part of a Service's declaration (`api.Api`, `broker.Broker`, `database.Database`,
`port.Port`, `alive.Alive`); the actions in `start` and `service` ask it. A check returns what it
found, and leaves what it has learned in its own part of the state. A Record is what an API's check
level 20 makes (`roundtrip`); it is here since every agent that declares one has loaded this module.
"""
from __future__ import annotations

from .call import SERVES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from .daemon import Daemon
    from .deadline import Deadline
    from .outcome import Outcome
    from .parameters import Parameter, Values
    from .process import Process
    from .state import State


class Check:
    """What a Service asks of each of its checks; a check defines what it has an answer to.

    text: what a start waits for and a monitor looks at, for the meta-data.
    """

    __slots__ = ()

    text = ""

    @property
    def level(self) -> int:
        """The highest check level that it has an answer to."""
        return SERVES

    @property
    def further(self) -> str:
        """What a level above SERVES adds, as a sentence for the meta-data; empty without one."""
        return ""

    def parameters(self, port: int) -> tuple[Parameter, ...]:
        """The parameters that it brings; port: where the daemon listens by default."""
        return ()

    def validate(self, values: Values) -> None:
        """Look at the parameters alone; ConfigurationError if one is wrong on every node."""

    def validate_host(self, values: Values) -> None:
        """Look at this node; NotInstalledError or ArgumentError if it lacks something."""

    def remarks(self, values: Values) -> Iterable[str]:
        """Warnings: what is allowed, but may surprise; validate-all logs them."""
        return ()

    def secrets(self, values: Values) -> Iterable[str]:
        """What must not be seen in a log or an exit reason."""
        return ()

    def explained(self, words: str) -> str:
        """What the last words of a daemon mean, where this check knows it; else empty."""
        return ""

    def ready(self, subject: Subject, deadline: Deadline) -> Outcome | None:
        """None while it is not ready, which `waiting` explains.

        SUCCESS when it is ready; any other code where more waiting is of no use.
        """
        raise NotImplementedError

    def waiting(self, subject: Subject, deadline: Deadline) -> str:
        """Why the last `ready` was None."""
        return subject.waiting

    def verdict(self, subject: Subject, deadline: Deadline) -> Outcome:
        """The verdict of a recurring monitor."""
        raise NotImplementedError


TAG = "openstack-ocf-monitor"
"""What the name of all that check level 20 makes begins with; its tag, where there are tags."""


class Record:
    """What check level 20 makes, finds again and deletes: a record of the service's.

    what: the word for it; answers have it under this key, and lists under its plural.
    path: where it is made and listed, from the version on; {project_id} is that of the token.
    fields: what it is made of, beside its name.
    query: what follows the path for a list of what has the TAG, or of all that a project has.
    wrapped: whether a request has the fields under `what`. named: the field with its name.
    id: the field with its id, or with a URL that ends in the id. item: its own path.
    status: a field, and its value in a record that is sound. passing: its values until then; those
        who change it, `behind`, may be late, and delete it later, too.
    behind: others that have a part in making it, so that a 5xx, or another status, need not be
        the fault of the service. needs: what to look at, where there are none.
    data: the path of its data, from `item` on: these are sent there, or with the record in the
        field `packed` (base64), and read back.
    text: a longer word for it. role: what the user needs for all this.
    """

    __slots__ = ("behind", "data", "fields", "id", "item", "named", "needs", "packed", "passing",
                 "path", "query", "role", "status", "text", "what", "wrapped")

    def __init__(
        self, what: str, path: str, fields: Mapping[str, object] | None = None, *, query: str = "",
        wrapped: bool = True, named: str = "name", id: str = "id",  # noqa: A002 - the field's name
        item: str = "/{id}", status: tuple[str, str] = ("", ""), passing: tuple[str, ...] = (),
        behind: str = "", needs: str = "its database", data: str = "", packed: str = "",
        text: str = "", role: str = "member",
    ) -> None:
        self.what = what
        self.path = path
        self.fields = dict(fields or {})
        self.query = query
        self.wrapped = wrapped
        self.named = named
        self.id = id
        self.item = item
        self.status = status
        self.passing = passing
        self.behind = behind
        self.needs = behind or needs
        self.data = data
        self.packed = packed
        self.text = text or f"a {self.word}"
        self.role = role

    @property
    def word(self) -> str:
        """The word for it in a sentence."""
        return self.what.replace("_", " ")


class Subject:
    """What a check looks at: an instance whose master process runs.

    name: of the agent. master: its master process. state: what is remembered; a check may
    change its own part. family: gives the living processes of the instance.
    daemon: the declaration of what runs. level: the check level. tag: `agent:instance`.
    waiting: why it is not ready, as far as `ready` has found out.
    asked: when (time.monotonic) a check of a starting daemon last asked another service.
    seen: its connections at the last look of a start, with the times at which each was first seen.
    """

    __slots__ = ("asked", "daemon", "family", "level", "master", "name", "seen", "state", "tag",
                 "values", "waiting")

    def __init__(
        self, name: str, values: Values, daemon: Daemon, state: State, master: Process,
        family: Callable[[], list[Process]], *, level: int = SERVES, tag: str = "",
    ) -> None:
        self.level = level
        self.tag = tag
        self.name = name
        self.values = values
        self.daemon = daemon
        self.state = state
        self.master = master
        self.family = family
        self.waiting = ""
        self.asked = 0.0
        self.seen: dict[int, float] = {}

    def memory(self, check: str) -> dict[str, Any]:
        """What the check of this name remembers of the instance; to be changed in place."""
        memory: dict[str, Any] = self.state.checks.setdefault(check, {})
        return memory
