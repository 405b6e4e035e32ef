"""An agent's declaration as the XML that Pacemaker, crmsh and pcs read. Pure: no I/O.

Called by `runtime` for meta-data, as any user and with an empty environment. Written by hand
rather than by xml.sax or xml.etree, which would cost twice the rest of the action to import.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from .parameters import Parameter

# The DTD that ocf-tester checks against knows OCF 1.0. What 1.1 brought is declared here, in the
# document's own internal subset, so that one document satisfies both standards.
HEAD = """\
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd" [
<!ATTLIST parameter reloadable (0|1) "0" unique-group CDATA #IMPLIED>
<!ATTLIST action name CDATA #REQUIRED>
]>
"""


class Action:
    """An action as it is advertised: timeout, interval (seconds) and depth."""

    __slots__ = ("depth", "interval", "name", "timeout")

    def __init__(
        self, name: str, timeout: int, interval: int | None = None, depth: int | None = None,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self.interval = interval
        self.depth = depth


def actions(start: int, stop: int, *monitors: Action) -> tuple[Action, ...]:
    """All actions. start, stop: their timeouts in seconds; status has that of the first monitor."""
    return (
        Action("start", start),
        Action("stop", stop),
        *monitors,
        Action("status", monitors[0].timeout),
        Action("reload-agent", 20),
        Action("validate-all", 20),
        Action("meta-data", 10),
    )


def document(
    name: str, version: str, title: str, text: str,
    parameters: Iterable[Parameter], actions: Iterable[Action],
) -> str:
    """The meta-data of an agent (OCF 1.1, "Resource Agent Meta-Data")."""
    return "".join((
        HEAD,
        f'<resource-agent name="{_escaped(name)}" version="{_escaped(version)}">\n',
        "<version>1.1</version>\n",
        f'<longdesc lang="en">\n{_escaped(text)}\n</longdesc>\n',
        f'<shortdesc lang="en">{_escaped(title)}</shortdesc>\n',
        "<parameters>\n", *map(_parameter, parameters), "</parameters>\n",
        "<actions>\n", *map(_action, actions), "</actions>\n",
        "</resource-agent>\n",
    ))


def _parameter(parameter: Parameter) -> str:
    # crmsh goes by unique, pcs by unique-group.
    unique = f' unique="1" unique-group="{parameter.name}"' if parameter.unique else ""
    default = f' default="{_escaped(parameter.default)}"' if parameter.default else ""
    return (
        f'<parameter name="{parameter.name}" required="0"{unique}'
        f' reloadable="{int(parameter.reloadable)}">\n'
        f'<longdesc lang="en">\n{_escaped(parameter.longdesc)}\n</longdesc>\n'
        f'<shortdesc lang="en">{_escaped(parameter.shortdesc)}</shortdesc>\n'
        f'<content type="{parameter.kind}"{default} />\n'
        "</parameter>\n"
    )


def _action(action: Action) -> str:
    interval = f' interval="{action.interval}s"' if action.interval is not None else ""
    depth = f' depth="{action.depth}"' if action.depth is not None else ""
    return f'<action name="{action.name}" timeout="{action.timeout}s"{interval}{depth} />\n'


def _escaped(text: str) -> str:
    return (text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
            .replace('"', "&quot;"))
