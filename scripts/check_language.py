"""Find phrases that this project no longer uses, in all text files tracked by git.

    python scripts/check_language.py [FILE ...]

Each phrase reads like a translation, or is a former name of something that now has a standard name. The
script prints where each phrase is and what to write instead, and exits with 1 if it finds any.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SUFFIXES = {".py", ".md", ".yaml", ".yml", ".toml", ".cff", ".html", ".j2", ".js", ".css", ".txt", ""}
#: Texts that are not ours: licenses and notices.
THIRD_PARTY = {"LICENSE", "NOTICE"}
#: Phrases that stay, since committed tables contain them as keys or names.
KEPT = ("tracks that are no live face", "lite0-anew")
#: Former phrases, as regular expressions that ignore case -> plain ones.
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
    r"\b(?:is|are|was|were|lies|lay) there already\b": "'already exists'",
    r"\b(?:is|are|was|were) not there\b": "'does not exist', 'is missing'",
    r"\bleft as (?:it|they) (?:is|are|was|were)\b": "'is not changed'",
    r"\bholds? no\b": "'has no', 'contains no'",
    r"\b(?:holds?|held) .{1,40} against\b": "'compares ... with'",
    r"\b(?:held|measured) against\b": "'compared with'",
    r"\btaken? for (?!granted)": "'counted as', 'mistaken for'",
    r"\bsays? of\b": "'says about'",
    r"\b(?:process|run|line|file|page|row|seed) of (?:its|their) own\b": "'its own ...', 'separate'",
    r"\bNone where\b": "'None if'",
    r"\bwhere (?:there (?:is|are) )?none\b": "'if there is no ...'",
    r"\bbut for (?:the|what|one|its)\b": "'except'",
    r"\bhalf as (?:much|many|large) again\b": "'1.5 times'",
    r"\bleads? nowhere\b": "'does not exist'",
    r"\bmade[- ]up\b": "'synthetic', 'invented'",
    r"\bas it were\b": "nothing",
    r"\bfor good\b": "'permanently'",
    r"\bin the midst\b": "'in the middle'",
    r"\bso many (?:bytes|frames|lines|pixels|seconds|times)\b": "'a number of', or a name for the number",
    r"\bof ours\b": "'our', or nothing",
    r"\bat hand\b": "'given', 'available'",
    r"\band its kin\b": "'and similar methods'",
    r"\bstands? (?:in|beside)\b": "'is in', 'is next to'",
    r"\bof several the\b": "'the first of several'",
    r"\blicences?\b": "'license'",
    r"\bone vote a group\b": "'those from one source counted as one'",
    r"\bthe road of\b": "'pipeline'",
    r"\b(?:thereof|therein|whereof|wherein)\b": "'of it', 'in it'",
}


def tracked() -> list[Path]:
    """Return the text files that git tracks, except this one and third-party texts."""
    listed = (
        subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\0")
    )
    return [
        path
        for path in map(Path, filter(None, listed))
        if path.suffix in SUFFIXES and path.name not in {Path(__file__).name, *THIRD_PARTY}
    ]


def found(path: Path) -> Iterator[str]:
    """Yield a line for each former phrase in a file: where it is, the phrase and what to write instead."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        return
    for number, line in enumerate(lines, 1):
        checked = re.sub("|".join(KEPT), "", line)
        for pattern, remedy in FORMER.items():
            for match in re.finditer(pattern, checked, re.IGNORECASE):
                yield f"{path}:{number}: {match.group().strip()!r}: write {remedy}"


def main() -> int:
    """Print every former phrase in the given files, or in all tracked ones; return the exit code."""
    files = [Path(argument) for argument in sys.argv[1:]] or tracked()
    lines = [line for path in files for line in found(path)]
    print("\n".join(lines) if lines else f"{len(files)} files, no former phrase")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
