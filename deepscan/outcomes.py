"""The possible statuses and verdicts of a video, and reasons for not counting a person."""

from typing import Literal, get_args

Status = Literal["ok", "no_face", "too_short", "decode_error", "timeout", "unsupported", "changed", "error"]
STATUSES: tuple[Status, ...] = get_args(Status)
#: Statuses that count as failed inputs (exit code 3); `no_face` and `too_short` are outcomes.
FAILURES: frozenset[Status] = frozenset({"decode_error", "timeout", "unsupported", "changed", "error"})

Verdict = Literal["fake", "inconclusive", "no_evidence"]

#: Why a track does not count: it is not a face, it does not move while others do, it was seen in too few
#: frames, or none of its faces is good enough.
Aside = Literal["no_face", "still", "seldom", "poor"]
