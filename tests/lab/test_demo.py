"""The demo's transcript in docs/, which a run of the demo made (`make transcript`)."""

from __future__ import annotations

from pathlib import Path

from lab import show
from lab.demo import CHAPTERS, keep

ROOT = Path(__file__).parents[2]
TRANSCRIPT = ROOT / "docs" / "demo.txt"
MARKS = ("ok", "WRONG")


def rows(lines: list[str]) -> list[str]:
    """The rows of a transcript, without the additions of a run."""
    marked = [line.split(maxsplit=1) for line in lines if line.startswith("  ")]
    known = {row for chapter in CHAPTERS for row in chapter.rows}
    texts = [text for mark, text in (words for words in marked if len(words) == 2)
             if mark in MARKS]
    return [text if text in known else text.rpartition(" (")[0] for text in texts]


def test_transcript_is_of_this_demo() -> None:
    """The transcript has the demo's chapters and rows, 16 or more, and all were as expected."""
    lines = TRANSCRIPT.read_text().splitlines()
    wanted = [row for chapter in CHAPTERS for row in chapter.rows]

    assert len(wanted) >= 16
    assert wanted == rows(lines), "run: make transcript"
    assert [chapter.heading for chapter in CHAPTERS] == [
        line for line in lines if line in {chapter.heading for chapter in CHAPTERS}
    ]
    assert lines[-1].startswith(f"{len(wanted)} of {len(wanted)} as expected, in ")
    assert lines[-1].endswith("; nothing left behind")


def test_transcript_is_plain() -> None:
    """The transcript has no colours, and no secrets: only the crm shell gets passwords."""
    text = TRANSCRIPT.read_text()

    assert "\033" not in text
    assert "password" not in text


def test_what_is_said_is_kept(tmp_path: Path) -> None:
    """The collected lines are written to the file, without colours."""
    show.line("before")
    with show.collected() as lines:
        show.line("\n\033[1mA heading\033[0m")
        show.line("  ok          a row")
    show.line("after")

    keep(tmp_path / "t.txt", lines)

    made, *kept = (tmp_path / "t.txt").read_text().splitlines()
    assert made.startswith("What `make demo` has shown")
    assert ["", "", "A heading", "  ok          a row"] == kept
    assert ["t.txt"] == [path.name for path in tmp_path.iterdir()]
