"""What a reader of a record must know of a file: what is missing in it, and what is odd about it."""

from collections.abc import Sequence

from deepscan.media.endings import unread_tail
from deepscan.media.source import SourceFile
from deepscan.media.timeline import Timeline
from deepscan.media.walk import Walk

#: Containers of broadcasts and live streams: recordings are joined in them, and clocks set again and again.
BROADCAST = ("mpegts", "mpeg", "flv")
#: Those of them of which libav tells where packets lie, to a packet.
_EXACT_PLACE = ("mpegts", "flv")
#: States no frame count; its length is exact, unlike that of formats where libav must guess.
_EXACT_LENGTH = "matroska,webm"
_PLACEHOLDER = 1 << 30


def damage(
    found: Walk, index: int, stated: int, line: Timeline, missing: str | None, *, still: bool
) -> list[str]:
    """Return what shows that data are missing; nothing here may be said of a healthy file.

    Args:
        found: The file's packets.
        index: The stream that is looked at.
        stated: How many frames the header claims for it, 0 where it claims none.
        line: The stream's frames.
        missing: What is missing at the end of the file, None where nothing is.
        still: Whether it is a still picture.
    """
    intact = len(found.packets[index]) - line.corrupt
    lines = []
    # AVI counts an empty chunk as a frame, and a writer that could not seek back left a placeholder.
    spare = 1 if found.format == "avi" else 0
    if not still and intact + spare < stated < _PLACEHOLDER:
        lines.append(f"the header states {stated} frames, {intact} are there")
    if line.corrupt:
        lines.append(f"corrupt packets left out: {line.corrupt}")
    if found.error:
        lines.append(f"reading stopped early: {found.error}")
    if missing:
        lines.append(f"it is cut short: {missing}")
    # The header's length counts from 0, or from the first packet.
    ends = max(found.end, found.end - found.start)
    if found.format == _EXACT_LENGTH and found.stated - ends > max(0.5, 0.02 * found.stated):
        lines.append(f"the header states {found.stated:.2f} s, the data end after {ends:.2f} s")
    return lines


def oddities(
    source: SourceFile,
    found: Walk,
    index: int,
    stated: int,
    line: Timeline,
    others: Sequence[str],
    pages: int,
) -> list[str]:
    """Return what a reader must know of a file although no data are missing.

    Args:
        source: The opened file.
        found: Its packets.
        index: The stream that is looked at.
        stated: How many frames the header claims for it, 0 where it claims none.
        line: The stream's frames.
        others: The other video streams, in words.
        pages: How many pictures a file of still ones holds, 0 for a video.
    """
    lines = []
    if not pages and 0 < stated < len(line.keys):
        lines.append(f"the header states {stated} frames, {len(line.keys)} are there")
    if pages and (behind := max(len(found.packets[index]), pages) - 1) > 0:
        lines.append(f"pictures behind the first one left out: {behind}")
    if line.jumps:
        how = "the frames are counted" if line.ticks is None else "the pieces are put one after another"
        lines.append(f"time stamps that jump: {line.jumps}; {how}")
    if others and not pages:
        lines.append(f"further video streams, not looked at: {', '.join(others)}")
    if found.format in _EXACT_PLACE and (rest := unread_tail(source, found.reached)):
        lines.append(rest)
    return lines
