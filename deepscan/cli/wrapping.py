"""Wraps text to a width without cutting anything; breaks a word only if it is longer than a line."""

import re
from collections.abc import Iterator

from rich.cells import cell_len

#: Where a line may end: after a space (except after a number), and after a slash in a path.
_END = re.compile(r"(?<= )(?<![0-9] )(?!%)|(?<=/)(?=[^\s/])")

#: A space at which no line may end. Printable text never contains it.
KEEP = "\u00a0"


def wrap(text: str, width: int, indent: int = 0) -> list[str]:
    """Return a text as lines.

    Args:
        text: One printable line.
        width: Most columns of a line, including its indent.
        indent: Spaces before each line.
    """
    room = max(width - indent, 1)
    lines, line = [], ""
    for piece in _END.split(text):
        if line and cell_len(line) + cell_len(piece.rstrip()) > room:
            lines.append(line)
            line = ""
        *whole, rest = _parts(piece, room)
        lines += whole
        line += rest
    return [f"{' ' * indent}{each.rstrip()}".replace(KEEP, " ") for each in (*lines, line)]


def _parts(word: str, room: int) -> Iterator[str]:
    """Yield a word in parts that fit; most words have one part."""
    part, used = "", 0
    for letter in word:
        size = cell_len(letter)
        if part and used + size > room and not letter.isspace():
            yield part
            part, used = "", 0
        part, used = part + letter, used + size
    yield part
