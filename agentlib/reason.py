"""The exit reason: one line that says what is wrong, where, and what to look at.

Made by whatever fails, shortened by `log` when it is given to Pacemaker, which keeps about 128
characters (OCF 1.1, "Exit reasons"). The cause is often the last that is said: so what is cut is
the decoration first, and then the middle.
"""
from __future__ import annotations

LENGTH = 119
"""Characters of an exit reason."""


class Spare(str):
    """A part of a reason that the reader can do without."""

    __slots__ = ()


class Reason(str):
    """A reason made of parts, as a text; it remembers which of them are Spare.

    Reason("glance-api answers; Keystone", Spare(" at http://..."), " cannot be reached")
    """

    parts: tuple[str, ...]

    def __new__(cls, *parts: str) -> Reason:
        """A reason of these parts; a part that is a reason itself is taken apart."""
        made = super().__new__(cls, "".join(parts))
        made.parts = tuple(
            small for part in parts
            for small in (part.parts if isinstance(part, Reason) else (part,)))
        return made

    def fitting(self, length: int) -> str:
        """The whole text, or without spare parts, the last of them first, as far as needed."""
        parts = [*self.parts]
        for index in reversed(range(len(parts))):
            if sum(map(len, parts)) > length and isinstance(parts[index], Spare):
                parts[index] = ""
        return "".join(parts)


def fitting(text: str) -> str:
    """A reason in one line of at most LENGTH printable ASCII characters."""
    if isinstance(text, Reason):
        text = text.fitting(LENGTH)
    return shortened(one_line(text), LENGTH)


def one_line(text: str) -> str:
    """Printable ASCII on one line: exit reasons pass through XML attributes and terminals."""
    return "".join(c if " " <= c <= "~" else " " if c.isspace() else "?" for c in text).strip()


def shortened(text: str, length: int) -> str:
    """At most `length` characters, with dots where the rest was: in the middle."""
    if len(text) <= length:
        return text
    head = (length - 3) * 2 // 5
    return text[:head] + "..." + text[len(text) - (length - 3 - head):]
