"""What must not be seen: no password in foreign text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentlib.secrets import scrubbed

URLS = [
    ("mysql+pymysql://glance:secret@db/glance", "mysql+pymysql://***@db/glance"),
    ("cannot reach rabbit://a:b@h:1,c:d@h:2//", "cannot reach rabbit://***@h:2//"),
    ("mysql://u:p/q@r@db/x", "mysql://***@db/x"),
    ("mysql://u:p:q@db", "mysql://***@db"),
    ("(mysql://u:secret@db) gone", "(mysql://***@db) gone"),
    ("'mysql://u:secret@db' and amqp://v:hidden@mq", "'mysql://***@db' and amqp://***@mq"),
    ("http://10.0.0.11:5000/v3 is down", "http://10.0.0.11:5000/v3 is down"),
    ("see http://h/x, or mail a@b", "see http://h/x, or mail a@b"),
]


@pytest.mark.parametrize(("text", "harmless"), URLS)
def test_scrubbed_urls(text: str, harmless: str) -> None:
    """User and password in a URL, up to its last @, are not repeated."""
    assert harmless == scrubbed(text)


@given(
    password=st.text(st.characters(exclude_categories=("Cs", "Zs", "Zl", "Zp", "Cc")),
                     min_size=4))
def test_scrubbed_any_password(password: str) -> None:
    """Whatever the password in a URL, nothing of it is left."""
    assert "x ://***@db y" == scrubbed(f"x ://user:{password}@db y")


@pytest.mark.parametrize("secret", ["secret", "a.b*c", "\\1", "with blank", "(", "p@ss://w@rd"])
def test_scrubbed_secrets(secret: str) -> None:
    """A secret that is known is replaced wherever it is."""
    text = scrubbed(f"user monitor, password {secret}, again {secret}.", secret)
    assert "user monitor, password ***, again ***." == text


def test_scrubbed_no_secret() -> None:
    """An empty secret replaces nothing."""
    assert "as it was" == scrubbed("as it was", "", "")
