"""Clients of RabbitMQ: a message that it has confirmed is in its queue until it is acknowledged.

Called by `lab.ledger`, where RabbitMQ is under Pacemaker. The queue is durable, the messages are
persistent, and RabbitMQ confirms each when it is on its disk. A message that was delivered may be
delivered once more: RabbitMQ promises no less, and no more.
"""

from __future__ import annotations

import importlib
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from lab import netns
from lab.errors import LabError
from lab.web import Server

PACKAGE = "python3-amqp"
QUEUE = "chaos"
PATIENCE = 20.0  # seconds, for one answer
READ = 300.0  # seconds in which the queue must be readable, when RabbitMQ serves
LATE = 150.0  # seconds after which RabbitMQ knows of connections that ended without a word
KEEP = 20
POLL = 0.5


def amqp() -> Any:
    """The module, which comes with the daemons that use RabbitMQ."""
    return importlib.import_module("amqp")


class Messages:
    """Messages that were confirmed, and not taken from the queue yet.

    kind: the word for one. kept: their texts, the oldest first. broken: what was found to be wrong,
    one line each.
    """

    kind = "message"

    def __init__(self, server: Server) -> None:
        self.server = server
        self.kept: list[str] = []
        self.told: Counter[str] = Counter()
        self.broken: list[str] = []
        self.alone = threading.Lock()

    def act(self) -> None:
        """Publish some messages and take some; a refusal is no error."""
        try:
            with self._channel() as channel:
                if len(self.kept) < KEEP:
                    self._publish(channel)
                else:
                    self._take(channel)
        except Exception:  # noqa: BLE001 - amqp has many of its own, and those of sockets
            self.told["refused"] += 1

    def verify(self) -> list[str]:
        """Read all that is in the queue; what is missing, one line each."""
        with self.alone:
            deadline = time.monotonic() + LATE
            while not {*self.kept} <= (found := self._read()) and time.monotonic() < deadline:
                time.sleep(POLL)
            for text in [one for one in self.kept if one not in found]:
                self.broken.append(f"message {text} was confirmed, and is not in its queue")
                self.kept.remove(text)
            broken, self.broken = self.broken, []
            return broken

    def _publish(self, channel: Any) -> None:
        text = secrets.token_hex(16)
        message = amqp().Message(text, delivery_mode=2)  # persistent
        channel.basic_publish_confirm(message, routing_key=QUEUE, timeout=PATIENCE)
        self.kept.append(text)
        self.told["acknowledged"] += 1

    def _take(self, channel: Any) -> None:
        """Take the oldest from the queue; from then on it may be gone."""
        message = channel.basic_get(QUEUE)
        if message is None:
            return  # `verify` says which are missing
        if message.body in self.kept:
            self.kept.remove(message.body)
        channel.basic_ack(message.delivery_tag)
        self.told["deleted"] += 1

    def _read(self) -> set[str]:
        """All that is in the queue; it stays there."""
        deadline = time.monotonic() + READ
        while True:
            try:
                found = set()
                with self._channel() as channel:
                    while message := channel.basic_get(QUEUE):
                        found.add(message.body)
                return found
            except Exception as error:  # noqa: BLE001 - as in `act`
                if time.monotonic() > deadline:
                    raise LabError(
                        f"RabbitMQ at {self.server} gives no messages for {READ:.0f} s: {error}"
                    ) from None
            time.sleep(POLL)

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        """A channel of a new connection; at its end all that was not acknowledged is back."""
        connection = amqp().Connection(
            f"{self.server.address}:{self.server.port}", "guest", "guest", confirm_publish=True,
            connect_timeout=PATIENCE, read_timeout=PATIENCE, write_timeout=PATIENCE)
        try:
            with netns.inside(self.server.namespace):
                connection.connect()
            channel = connection.channel()
            channel.queue_declare(QUEUE, durable=True, auto_delete=False)
            yield channel
        finally:
            with suppress(Exception):
                connection.close()
