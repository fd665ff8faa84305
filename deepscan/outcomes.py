"""What a scan can say of a video, its status and verdict, and why a person does not count."""

from typing import Literal, get_args

Status = Literal["ok", "no_face", "too_short", "decode_error", "timeout", "unsupported", "changed", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)
#: Statuses that count as failed inputs (exit code 3); `no_face` and `too_short` are outcomes.
FAILURES: frozenset[Status] = frozenset({"decode_error", "timeout", "unsupported", "changed", "error"})

Verdict = Literal["fake", "inconclusive", "no_evidence"]

#: Why a track does not count: it shows no face, its face is still while others move, it was seen in too few
#: frames, or none of its faces is good enough.
Aside = Literal["no_face", "still", "seldom", "poor"]
