"""A description on its way to text: what init has found, and remarks where it is not sure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field

from .words import hidden


@dataclass
class Section:
    """A section of a description, with remarks that stand above it."""

    name: str
    values: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@dataclass
class Draft:
    """A description: `[DEFAULT]`, the services in their order, `[dns]`, and what is left over."""

    source: str
    default: Section = field(default_factory=lambda: Section("DEFAULT"))
    services: list[Section] = field(default_factory=list)
    dns: Section = field(default_factory=lambda: Section("dns"))
    left: list[str] = field(default_factory=list)

    def section(self, name: str) -> Section:
        """The section of a service, made where it is not there yet."""
        found = next((one for one in self.services if one.name == name), None)
        if found is None:
            found = Section(name)
            self.services.append(found)
        return found

    def text(self) -> str:
        """The description, which `check` and `plan` read."""
        parts = [_remarks([f"Made by openstack-ocf init from {self.source}.",
                           "Next: openstack-ocf check, then openstack-ocf plan --diff live"])]
        for one in (self.default, *self.services, self.dns):
            if one.values or one.remarks or one in self.services:
                # A line break in a value would begin another key, or a section.
                good = {key: value for key, value in one.values.items()
                        if value.isprintable() and hidden(value) == value}
                bad = [f"{key} has {_wrong(value)} where this is from; it is left out."
                       for key, value in one.values.items() if key not in good]
                lines = "".join(f"{key} = {value}\n" for key, value in good.items())
                parts.append(f"{_remarks([*one.remarks, *bad])}[{one.name}]\n{lines}")
        parts += [_remarks(self.left)] if self.left else []
        return "\n".join(parts)


def _wrong(value: str) -> str:
    return "a password in it" if value.isprintable() else "invisible characters"


def _remarks(lines: Iterable[str]) -> str:
    plain = ("".join(one if one.isprintable() else " " for one in line) for line in lines)
    wrapped = (part for line in plain
               for part in textwrap.wrap(line, 97, break_on_hyphens=False, break_long_words=False))
    return "".join(f"# {line}\n" for line in wrapped)
