"""The declaration: a name, a title, and what the agent manages.

Made by the executables in ocf/, which hand it to `runtime.run`.
"""
from __future__ import annotations

from .call import Call
from .metadata import document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from .environment import Environment
    from .log import Log
    from .metadata import Action
    from .outcome import Outcome
    from .parameters import Parameter

    class Managed(Protocol):
        """What an Agent asks of what it manages.

        text: what the actions do, for the meta-data. actions: as they are advertised.
        levels: the check levels that there are.
        """

        parameters: tuple[Parameter, ...]
        actions: tuple[Action, ...]

        @property
        def levels(self) -> tuple[int, ...]:
            """The check levels that there are."""

        @property
        def text(self) -> str:
            """Sentences for the meta-data."""

        def act(self, call: Call) -> Outcome:
            """Do the action that the call names; AgentError where it fails."""


VERSION = "0.1.0"


class Agent:
    """A resource agent.

    name: the resource type, and the name of the executable.
    title: what it manages, for the meta-data.
    """

    __slots__ = ("manages", "name", "title")

    def __init__(self, *, name: str, title: str, manages: Managed) -> None:
        self.name = name
        self.title = title
        self.manages = manages

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of the actions, but meta-data and usage, which need no call."""
        names = dict.fromkeys(action.name for action in self.manages.actions)
        return tuple(name for name in names if name != "meta-data")

    def metadata(self) -> str:
        """The meta-data, as XML."""
        return document(
            self.name, VERSION, f"Manages the {self.title}",
            f"Resource agent for the {self.title}. {self.manages.text}",
            self.manages.parameters, self.manages.actions)

    def usage(self) -> str:
        """How to call the agent by hand."""
        names = "|".join((*self.actions, "meta-data", "usage"))
        example = next((f"  OCF_RESKEY_{p.name}={p.default} "
                        for p in self.manages.parameters if p.name == "config"), "  ")
        return (
            f"usage: {self.name} ({names})\n\n"
            f"Manages the {self.title} for Pacemaker. Parameters come in the environment:\n"
            f"  OCF_ROOT=/usr/lib/ocf OCF_RESOURCE_INSTANCE=p_{self.name} \\\n"
            f"{example}{self.name} monitor\n")

    def call(self, environment: Environment, log: Log, age: float = 0.0) -> Call:
        """One invocation; age: seconds that it has taken so far."""
        return Call(self.name, self.manages.parameters, self.manages.actions, environment, log,
                    age, self.manages.levels)
