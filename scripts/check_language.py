"""Look for phrases that this project no longer uses, in every text file that git tracks.

    python scripts/check_language.py [FILE ...]

Each phrase reads like a translation, or is a former name of something that now has a standard one. The script
prints the place of each and what to write instead, and exits with 1 if it finds any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".html", ".j2", ".js", ".css", ".txt", ""}
#: Former phrases, as regular expressions that ignore case, and what says it plainly.
FORMER = {
    r"(?<!there )\b(?:is|are|was|were) no (?!longer|more|less|fewer|other|need|reason|way|better|worse)": (
        "'is not a'; or name what is wanted: 'must end in .html'"
    ),
    r"(?<!not-)\bstated\b": "'given', 'declared', 'in the header', or name the place",
    r"\btold\b": "'callback', 'is passed', 'knows'",
    r"\bhangs? on (?!an? |the )": "'depends on'",
    r"\bgo(?:es)? by\b": "'uses', 'is based on'",
    r"\bgo(?:es)? on where\b": "'resumes'",
    r"\banew\b": "'again'",
    r"\bholds? for\b": "'applies to'",
    r'(?<!")(?<!--)\btowers?\b': "'backbone'",
    r"\bfor ever\b": "'forever'",
    r"\btime stamps?\b": "'timestamp'",
    r"\bbeside (?:the|its|their) (?:records|run|journal|videos?)\b": "'next to'",
    r"\bby its look\b": "'does not look like'",
    r"\bof ours\b": "'our', or nothing",
    r"\bat hand\b": "'given', 'available'",
    r"\band its kin\b": "'and similar methods'",
    r"\bstands? (?:in|beside)\b": "'is in', 'is next to'",
    r"\bof several the\b": "'the first of several'",
    r"\bthe road of\b": "'pipeline'",
    r"\b(?:thereof|therein|whereof|wherein)\b": "'of it', 'in it'",
}


def tracked() -> list[Path]:
    """Return the text files that git tracks, this one left out."""
    listed = (
        subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\0")
    )
    return [
        path
        for path in map(Path, filter(None, listed))
        if path.suffix in SUFFIXES and path.name != Path(__file__).name
    ]


def found(path: Path) -> Iterator[str]:
    """Yield a line for each former phrase in a file: its place, the phrase and the remedy."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return
    for number, line in enumerate(lines, 1):
        for pattern, remedy in FORMER.items():
            for match in re.finditer(pattern, line, re.IGNORECASE):
                yield f"{path}:{number}: {match.group().strip()!r}: write {remedy}"


def main() -> int:
    """Print every former phrase in the files that are named, or in all; return the exit code."""
    files = [Path(argument) for argument in sys.argv[1:]] or tracked()
    lines = [line for path in files for line in found(path)]
    print("\n".join(lines) if lines else f"{len(files)} files, no former phrase")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
