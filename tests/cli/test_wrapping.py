"""Wrapped lines: whole words, whole names, wide letters counted as two columns."""

import pytest
from rich.cells import cell_len

from deepscan.cli.wrapping import wrap


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 10, [""]),
        ("fits", 4, ["fits"]),
        ("one two three", 7, ["one two", "three"]),
        ("called 29 % fake", 9, ["called", "29 % fake"]),
        ("4 videos, 12 faces", 12, ["4 videos,", "12 faces"]),
        ("some/folder/name.mp4", 12, ["some/folder/", "name.mp4"]),
        ("no space, and a/b.mp4", 13, ["no space, and", "a/b.mp4"]),
        ("0123456789abc de", 5, ["01234", "56789", "abc", "de"]),
        ("\u6f22\u5b57\u6f22\u5b57", 5, ["\u6f22\u5b57", "\u6f22\u5b57"]),
    ],
)
def test_lines_end_after_words_and_folders(text, width, lines):
    assert wrap(text, width) == lines


def test_the_indent_counts_towards_the_width():
    lines = wrap("a note of a few words in a narrow terminal", 14, 4)
    assert all(line.startswith("    ") and cell_len(line) <= 14 for line in lines)
    assert " ".join(line.strip() for line in lines) == "a note of a few words in a narrow terminal"


@pytest.mark.parametrize("width", [1, 2, 7, 50, 80])
def test_no_text_is_lost_at_any_width(width):
    text = "/media/copy of it/\u6f22\u5b57 e\u0301tude/" + "x" * 90 + ".mp4 (29 % of it)"
    lines = wrap(text, width)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(cell_len(line) <= max(width, 2) for line in lines)
