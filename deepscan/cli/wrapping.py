"""Lines of at most so many columns: nothing is cut, and no word in two that fits on a line."""

import re
from collections.abc import Iterator

from rich.cells import cell_len

#: Where a line may end: after a space, but for one behind a figure, and after the slash of a path.
_END = re.compile(r"(?<= )(?<![0-9] )(?!%)|(?<=/)(?=[^\s/])")

#: Stands for a space that no line ends at; what is printable has none itself.
KEEP = "\u00a0"


def wrap(text: str, width: int, indent: int = 0) -> list[str]:
    """Return a text as lines.

    Args:
        text: One line, printable.
        width: Columns that a line may have, its indent included.
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
    """Yield a word in parts that fit; most words are one."""
    part, used = "", 0
    for letter in word:
        size = cell_len(letter)
        if part and used + size > room and not letter.isspace():
            yield part
            part, used = "", 0
        part, used = part + letter, used + size
    yield part
