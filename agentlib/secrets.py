"""What must not be seen: passwords are taken out of foreign text.

Called by `lastwords`, before a daemon's words become an exit reason.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re


def scrubbed(text: str, *secrets: str) -> str:
    """A daemon's words without passwords: the given ones, and those in URLs.

    Foreign text of any length: the time it takes is linear.
    """
    import re

    for secret in filter(None, secrets):
        for form in _forms(secret):
            text = text.replace(form, "***")
    return re.sub(r"\S+", _without_login, text)


def _without_login(word: re.Match[str]) -> str:
    """A word in which what stands between :// and the last @ is hidden."""
    before, slashes, rest = word[0].partition("://")
    _, at, after = rest.rpartition("@")
    return before + slashes + "***" + at + after if at else word[0]


def _forms(secret: str) -> list[str]:
    """The ways in which programs give a secret: as it is, quoted, encoded; the longest first."""
    import base64
    import json
    import shlex
    from urllib.parse import quote, quote_plus

    raw = secret.encode("utf-8", "surrogateescape")
    forms = {secret, repr(secret)[1:-1], json.dumps(secret)[1:-1], quote(raw), quote(raw, safe=""),
             quote_plus(raw), shlex.quote(secret).strip("'"), base64.b64encode(raw).decode()}
    return sorted(forms, key=len, reverse=True)
