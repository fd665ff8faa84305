"""The possible statuses and verdicts of a video, why a person does not count, and what people call it."""

from typing import Literal, get_args

Status = Literal["ok", "no_face", "too_short", "decode_error", "timeout", "unsupported", "changed", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)
#: Statuses that count as failed inputs (exit code 3); `no_face` and `too_short` are outcomes.
FAILURES: frozenset[Status] = frozenset({"decode_error", "timeout", "unsupported", "changed", "error"})

Verdict = Literal["fake", "inconclusive", "no_evidence"]

#: Why a track does not count: it is not a face, it does not move while others do, it was seen in too few
#: frames, or none of its faces is good enough.
Aside = Literal["no_face", "still", "seldom", "poor"]


def track_label(track: int, reason: str | None = None) -> str:
    """Return what people call a track: records count from 0, people from 1.

    Args:
        track: Its id in the record.
        reason: Why it does not count, None if it does.
    """
    return f"track {track + 1} (not a face)" if reason == "no_face" else f"person {track + 1}"


def shot_label(shot: int) -> str:
    """Return what people call a shot, which records count from 0.

    Args:
        shot: Its id in the record.
    """
    return f"shot {shot + 1}"
