"""Describe what is missing in a file and what is unusual about it, for the warnings of its record."""

from collections.abc import Sequence

from deepscan.media.endings import unread_tail
from deepscan.media.source import SourceFile
from deepscan.media.timeline import Timeline
from deepscan.media.walk import Walk

#: Containers of broadcasts and live streams, in which recordings are joined and clocks reset.
BROADCAST = ("mpegts", "mpeg", "flv")
#: Those for which libav knows the exact offset of each packet.
_EXACT_PLACE = ("mpegts", "flv")
#: Has no frame count in its header, but an exact duration, unlike formats where libav must guess.
_EXACT_LENGTH = "matroska,webm"
_PLACEHOLDER = 1 << 30


def damage(
    found: Walk, index: int, declared: int, line: Timeline, missing: str | None, *, still: bool
) -> list[str]:
    """Return the signs that data are missing. None of them may occur in an intact file.

    Args:
        found: What the file's packets show.
        index: Index of the video stream.
        declared: Number of frames according to the header, 0 if it gives none.
        line: The stream's frames.
        missing: What is missing at the end of the file, None if nothing is.
        still: Whether it is a still picture.
    """
    intact = len(found.packets[index]) - line.corrupt
    lines = []
    # AVI counts an empty chunk as a frame, and a writer that could not seek back left a placeholder.
    spare = 1 if found.format == "avi" else 0
    if not still and intact + spare < declared < _PLACEHOLDER:
        lines.append(f"the header declares {declared} frames, the file has {intact}")
    if line.corrupt:
        lines.append(f"corrupt packets, skipped: {line.corrupt}")
    if found.error:
        lines.append(f"reading stopped early: {found.error}")
    if missing:
        lines.append(f"it is cut short: {missing}")
    # The duration in the header counts from 0 or from the first packet.
    ends = max(found.end, found.end - found.start)
    if found.format == _EXACT_LENGTH and found.declared - ends > max(0.5, 0.02 * found.declared):
        lines.append(f"the header declares {found.declared:.2f} s, the data end after {ends:.2f} s")
    return lines


def oddities(
    source: SourceFile,
    found: Walk,
    index: int,
    declared: int,
    line: Timeline,
    others: Sequence[str],
    pages: int,
) -> list[str]:
    """Return what readers of the record must know about a file although no data are missing.

    Args:
        source: The opened file.
        found: What its packets show.
        index: Index of the video stream.
        declared: Number of frames according to the header, 0 if it gives none.
        line: The stream's frames.
        others: Descriptions of the other video streams.
        pages: Number of pictures in a file of still pictures, 0 for a video.
    """
    lines = []
    if not pages and 0 < declared < len(line.keys):
        lines.append(f"the header declares {declared} frames, the file has {len(line.keys)}")
    if pages and (further := max(len(found.packets[index]), pages) - 1) > 0:
        lines.append(f"further pictures in the file, ignored: {further}")
    if line.jumps:
        remedy = (
            "frames are only counted" if line.ticks is None else "the pieces are placed one after another"
        )
        lines.append(f"timestamps that jump: {line.jumps}; {remedy}")
    if others and not pages:
        lines.append(f"further video streams, ignored: {', '.join(others)}")
    if found.format in _EXACT_PLACE and (rest := unread_tail(source, found.reached)):
        lines.append(rest)
    return lines
