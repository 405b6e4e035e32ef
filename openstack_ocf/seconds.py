"""Times as Pacemaker writes them."""

from __future__ import annotations

import re

_UNITS = {"": 1.0, "s": 1.0, "sec": 1.0, "ms": 0.001, "msec": 0.001, "us": 1e-6, "usec": 1e-6,
          "m": 60.0, "min": 60.0, "h": 3600.0, "hr": 3600.0}


def seconds(text: str) -> float | None:
    """A time in seconds, as of `30s`, `5min`, `PT1M30S`; None if it is none."""
    plain = re.fullmatch(r"\s*(\d{1,9})\s*([a-z]*)\s*", text.lower())
    if plain and plain[2] in _UNITS:
        return int(plain[1]) * _UNITS[plain[2]]
    iso = re.fullmatch(r"P(?:(\d{1,5})D)?T?(?:(\d{1,5})H)?(?:(\d{1,7})M)?(?:(\d{1,9})S)?", text)
    if iso and any(iso.groups()):
        days, hours, minutes, rest = (int(part or 0) for part in iso.groups())
        return float(((days * 24 + hours) * 60 + minutes) * 60 + rest)
    return None


def plain(text: str) -> str:
    """A time as `90s`, what is none as it is; so is a number alone, which may be no time."""
    found = seconds(text)
    return text if found is None or (text.isdigit() and text != "0") else f"{found:g}s"


def same_time(first: str, second: str) -> bool:
    """Whether two texts are the same, or say the same time."""
    return plain(first) == plain(second)
