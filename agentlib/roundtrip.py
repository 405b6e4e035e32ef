"""Check level 20: a record is made, shown, found in the list and deleted, by way of the API.

Called by `examination` after a check of level 10 that found nothing, where the declaration has a
Record. What is forbidden, or full, or late, is not the service's fault (190), nor what others do
not get done (`behind`): a restart of the API mends none of these. What is wrong is (1).

What a monitor that was killed has left is deleted by the next one of the same resource, and by any
of the same project when it is a day old. While some of it stays, no more is made.
"""
from __future__ import annotations

import json
import os
import time

from .check import TAG
from .exitcode import ExitCode
from .outcome import Outcome
from .reason import Reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .check import Record
    from .deadline import Deadline
    from .http import Answer
    from .keystone import Token
    from .target import Target

SIZE, PACKED_SIZE = 1 << 16, 32
"""Bytes of data that are sent by themselves, and of those inside a record."""

STALE = 86400
"""Seconds after which a record of another resource counts as left behind: the clocks of two nodes
may be hours apart."""

SWEPT, PASSED, SHARE = 0.3, 0.5, 0.85
"""Parts of the time that there is: until what was left is gone; of the rest, until the record is
sound, and until it is deleted."""

PAUSE = 0.5
"""Seconds between two looks at what others have to do."""

MOST = 10
"""Records that one monitor sweeps."""

LOOKS = 3
"""Looks at what is not as it should be: one node of a database may be behind another."""

PAGE = 100
"""Records in a list, at most: what is not in a shorter one is not there."""

BYTES = "application/octet-stream"


class RoundTrip:
    """One round trip.

    instance: whose monitor it is, `agent:name`. user: for exit reasons.
    """

    __slots__ = ("_deadline", "_head", "_path", "_record", "_target", "_token", "_user")

    def __init__(
        self, target: Target, record: Record, token: Token, *, instance: str, user: str,
        deadline: Deadline,
    ) -> None:
        self._target = target
        self._record = record
        self._token = token
        self._user = user
        self._deadline = deadline
        self._head = head(instance)
        self._path = record.path.replace("{project_id}", token.project or "-")

    def verdict(self) -> Outcome:
        """SUCCESS when all of it is as it should be, and the record is gone again."""
        try:
            self._sweep(self._deadline.share(SWEPT))
            self._travel(self._deadline.share(SHARE))
        except _EndError as error:
            return error.outcome
        return Outcome(ExitCode.SUCCESS)

    def _sweep(self, deadline: Deadline) -> None:
        """Delete what monitors have left that were killed: of this resource all, else the old."""
        own: dict[str, str] = {}
        old: dict[str, str] = {}
        for one in self._listed(self._deadline):
            id_, name = self._id(one), str(one.get(self._record.named))
            if id_ and self._is_mine(one) and len(own) + len(old) < MOST:
                if name.rpartition("-")[0].rpartition("-")[0] == self._head:
                    own[id_] = name
                elif age(name) > STALE:
                    old[id_] = name
        for id_, name in old.items():
            try:
                self._delete(id_, name)
            except _EndError:
                pass  # Its own node's monitors, or an operator, will see to it.
        for id_, name in own.items():
            self._delete(id_, name)
        if own:
            self._gone({*own}, deadline)

    def _travel(self, deadline: Deadline) -> None:
        name = f"{self._head}-{int(time.time())}-{os.urandom(4).hex()}"
        data = os.urandom(PACKED_SIZE if self._record.packed else SIZE)
        id_ = self._make(name, data, deadline)
        try:
            if self._record.data and not self._record.packed:
                self._ask("PUT", self._item(id_, name) + self._record.data, deadline, data, BYTES)
            for look in range(1, LOOKS + 1):
                try:
                    self._look(id_, name, data, deadline)
                    break
                except _EndError as error:
                    if look == LOOKS or error.outcome.code == ExitCode.DEGRADED:
                        raise
                time.sleep(PAUSE)
        except _EndError:
            try:
                self._delete(id_, name)
            except _EndError:
                pass  # What was wrong first counts; the next monitor sweeps it.
            raise
        self._delete(id_, name)
        self._gone({id_}, self._deadline)

    def _make(self, name: str, data: bytes, deadline: Deadline) -> str:
        """The id of a new record."""
        record = self._record
        fields: dict[str, object] = {**record.fields, record.named: name}
        if record.packed:
            from binascii import b2a_base64

            fields[record.packed] = b2a_base64(data, newline=False).decode()
        body = json.dumps({record.what: fields} if record.wrapped else fields).encode()
        id_ = self._id(self._shown(self._ask("POST", "", deadline, body)))
        if not id_:
            raise self._wrong(f"makes {record.text} without an id")
        return id_

    def _look(self, id_: str, name: str, data: bytes, deadline: Deadline) -> None:
        """Whether the record is shown and listed as it was made, and its data come back."""
        record, item = self._record, self._item(id_, name)
        self._sound(item, name, deadline)
        listed = self._listed(deadline)
        names = [one.get(record.named) for one in listed if self._id(one) == id_]
        if names != [name] and (names or len(listed) < PAGE):
            raise self._wrong(f"does not list {record.text} that it has")
        if record.data and data != self._ask(
                "GET", item + record.data, deadline, kind=BYTES).body:
            raise self._wrong("gives other bytes than it was given")

    def _sound(self, item: str, name: str, deadline: Deadline) -> None:
        """Wait until the record is as it should be."""
        record = self._record
        field, right = record.status
        limit = deadline.share(PASSED)
        while True:
            shown = self._shown(self._ask("GET", item, deadline))
            if shown.get(record.named) != name:
                raise self._wrong(f"shows {record.text} of another name than it was given")
            status = shown.get(field) if field else right
            if status == right:
                return
            if status not in record.passing or limit.remaining() < PAUSE:
                raise self._undone(f"is {status}") if record.passing else self._wrong(
                    f"has {record.text} whose {field} is not {right}")
            time.sleep(PAUSE)

    def _gone(self, ids: set[str], deadline: Deadline) -> None:
        """Whether what was deleted is not listed any more."""
        record = self._record
        field, right = record.status
        looks = 0
        status = ""
        while True:
            looks += 1
            try:
                left = [one for one in self._listed(self._deadline) if self._id(one) in ids]
            except _EndError as error:
                # What was seen of others' work says more than that a later look was late.
                if error.late and record.passing and status:
                    break
                raise
            if not left:
                return
            if not record.passing and looks == LOOKS:
                raise self._wrong(f"lists {record.text} that it has deleted")
            status = str(left[0].get(field))
            failed = status != right and ("err" in status.lower() or "fail" in status.lower())
            if record.passing and (failed or deadline.remaining() < 2 * PAUSE):
                break
            time.sleep(PAUSE)
        raise self._undone(f"was to be deleted, and is {status}")

    def _listed(self, deadline: Deadline) -> list[dict[str, Any]]:
        page = self._json(self._ask("GET", self._record.query, deadline))
        if isinstance(page, dict):
            page = page.get(f"{self._record.what}s")
        if not isinstance(page, list) or not all(isinstance(one, dict) for one in page):
            raise self._wrong(f"lists no {self._record.word}s")
        return page

    def _delete(self, id_: str, name: str) -> None:
        self._ask("DELETE", self._item(id_, name), self._deadline)

    def _item(self, id_: str, name: str) -> str:
        """The path of a record, behind that of all of them; its name has been looked at."""
        return self._record.item.replace("{id}", id_).replace("{name}", name)

    def _id(self, one: dict[str, Any]) -> str:
        """The id of a record, if it can stand in a path."""
        id_ = one.get(self._record.id)
        if isinstance(id_, str) and self._record.id.endswith("_ref"):
            id_ = id_.rpartition("/")[2]
        return id_ if isinstance(id_, str) and _is_plain(id_) else ""

    def _is_mine(self, one: dict[str, Any]) -> bool:
        """Whether a monitor of the same project has made it: an administrator sees all projects."""
        owners = {one.get(key) for key in ("project_id", "tenant_id", "owner")} - {None, ""}
        return owners <= {self._token.project} and _is_plain(str(one.get(self._record.named)))

    def _shown(self, answer: Answer) -> dict[str, Any]:
        """A record, as an answer has it."""
        record = self._json(answer)
        if isinstance(record, dict):
            record = record.get(self._record.what, record)
        if not isinstance(record, dict):
            raise self._wrong("answers with what is no JSON object")
        return record

    def _json(self, answer: Answer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise self._wrong("answers with what is no JSON object") from None

    def _ask(
        self, method: str, path: str, deadline: Deadline, body: bytes = b"",
        kind: str = "application/json",
    ) -> Answer:
        """An answer that is good, or none where something is to be deleted that is gone."""
        answer = self._target.send(method, self._path + path, self._token, deadline, body, kind)
        status, record = answer.status, self._record
        gone = status == 404 and path.startswith("/") and path != record.query
        if 200 <= status < 300 or (gone and method == "DELETE"):
            return answer
        trouble = f"{answer.trouble} to {method} {record.path}"
        start = f"{self._target.name} {trouble}: "
        if method == "DELETE" and record.passing and status in (400, 409):
            raise self._undone("cannot be deleted")
        if status and status < 500 and not gone:
            raise _EndError(ExitCode.DEGRADED, Reason(
                start, f"may user {self._user} make {record.word}s (role {record.role}, quota)?"))
        if answer.late or answer.local or status == 503 or (status and not gone and record.behind):
            raise _EndError(ExitCode.DEGRADED, Reason(start, f"look at {record.needs}"),
                            late=answer.late)
        raise self._wrong(trouble)

    def _undone(self, how: str) -> _EndError:
        """The end by what others did not get done."""
        return _EndError(ExitCode.DEGRADED, Reason(
            f"{self._target.name} answers; its {self._record.word} of level 20 {how}: ",
            f"look at {self._record.behind}"))

    def _wrong(self, how: str) -> _EndError:
        return _EndError(ExitCode.ERR_GENERIC, Reason(
            f"{self._target.name} {how}", f": look at {self._record.needs}"))


class _EndError(Exception):
    """The round trip has ended, with this outcome. late: an answer did not come in time."""

    def __init__(self, code: ExitCode, reason: Reason, *, late: bool = False) -> None:
        super().__init__(str(reason))
        self.outcome = Outcome(code, reason)
        self.late = late


def head(instance: str) -> str:
    """What the names of a resource's records begin with: the tag, node, instance and their digest.

    Behind it stand the seconds since the epoch, and what is of this record alone. (Letters, digits,
    `-` and `_`: a name of an OpenStack API may have no more.)
    """
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b

    whose = f"{os.uname().nodename} {instance}"
    words = "".join(c if c == "_" or (c.isascii() and c.isalnum()) else "-" for c in whose)
    return f"{TAG}-{words[:120]}-{blake2b(whose.encode(), digest_size=6).hexdigest()}"


def age(name: str) -> float:
    """Seconds since a record of this name was made; 0 where it is none of ours."""
    made = name.rpartition("-")[0].rpartition("-")[2]
    if not (name.startswith(f"{TAG}-") and made.isascii() and made.isdigit() and len(made) < 12):
        return 0.0
    return time.time() - int(made)


def _is_plain(text: str) -> bool:
    """Whether it can stand in a path."""
    return text.isascii() and text.replace("-", "").replace("_", "").isalnum()
