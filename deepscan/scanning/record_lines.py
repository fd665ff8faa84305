"""Build the record of one video: a JSON object on one line."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from deepscan.outcomes import STATUSES, Status, Verdict

SCHEMA = 1


def utc_now(before: float = 0.0) -> str:
    """Return the time as ISO 8601 in UTC, to the millisecond.

    Args:
        before: Seconds to subtract.
    """
    time = datetime.now(UTC) - timedelta(seconds=before)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class RecordLine:
    """Everything that is known about a video when its scan has ended.

    Attributes:
        path: Absolute path as bytes, with links not resolved.
        status: `ok`, or why there is no score.
        detail: One line for a status other than `ok`, else empty.
        run: Identifier of the run, see `run.json`.
        sha256: SHA-256 of the file before decoding, None if it could not be read.
        size: Size of the file in bytes, None if it could not be read.
        mtime_ns: When the file was last modified, in nanoseconds since 1970; None if it could not be read, or
            if it is an object of a store.
        etag: ETag of the object, None for a file.
        copied_from: Path of the video with equal content whose record this is, None if it was scanned itself.
        warnings: What weakens the outcome although the status is `ok`.
        verdict: None unless the status is `ok` and there is a detector.
        score: Probability of fake in [0, 1], None likewise.
        calibrated: Whether the score is calibrated.
        tracks: One entry per person.
        frames: One entry per face, and one per frame without a face.
        shots: One entry per run of sampled frames without a cut between them.
        media: Facts about the file and the decoder used.
        model: Name and weights of the model, None without one; with several, their common name.
        models: With several models, an entry like `model` for each, with its verdict, its score and whether
            that is calibrated.
        pictures: Pictures stored next to the records (`scanning.pictures`), None if none were requested.
        started: Time at which its scan began, UTC.
        seconds: Stage -> seconds; with `_cpu`, CPU time.
    """

    path: bytes
    status: Status
    detail: str
    run: str
    sha256: str | None = None
    size: int | None = None
    mtime_ns: int | None = None
    etag: str | None = None
    copied_from: bytes | None = None
    warnings: tuple[str, ...] = ()
    verdict: Verdict | None = None
    score: float | None = None
    calibrated: bool = False
    tracks: Sequence[Mapping[str, Any]] = ()
    frames: Sequence[Mapping[str, Any]] = ()
    shots: Sequence[Mapping[str, Any]] = ()
    media: Mapping[str, Any] | None = None
    model: Mapping[str, Any] | None = None
    models: Sequence[Mapping[str, Any]] = ()
    pictures: Sequence[Mapping[str, Any]] | None = None
    started: str = field(default_factory=utc_now)
    seconds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"unknown status {self.status!r}")
        if self.status != "ok" and (self.score is not None or self.verdict is not None):
            raise ValueError(f"a video with status {self.status!r} has no score and no verdict")
        if self.status != "ok" and not self.detail:
            raise ValueError(f"a video with status {self.status!r} needs a detail that says why")
        if self.score is not None and not (math.isfinite(self.score) and 0 <= self.score <= 1):
            raise ValueError(f"a score must be in [0, 1], not {self.score}")

    @classmethod
    def copied(cls, record: Mapping[str, Any], path: bytes, **own: Any) -> Self:
        """Return the record of a video with the content of another that was scanned in the same run.

        Args:
            record: The other's record as JSON.
            path: Path of this video.
            own: Attributes that this video has of itself: when it was modified, when its scan began.
        """
        same = ("status", "detail", "run", "sha256", "verdict", "score", "calibrated", "media", "model")
        lists = ("tracks", "frames", "shots")
        return cls(
            path,
            **{name: record[name] for name in (*same, *lists)},
            size=record["bytes"],
            warnings=tuple(record["warnings"]),
            models=record.get("models", ()),
            pictures=record.get("pictures"),
            copied_from=recorded_path(record),
            **own,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the record with its keys in the order of the contract."""
        text, raw = path_fields(self.path)
        return {
            "schema": SCHEMA,
            "path": text,
            **({} if raw is None else {"path_bytes": raw}),
            "sha256": self.sha256,
            "bytes": self.size,
            "mtime_ns": self.mtime_ns,
            **({} if self.etag is None else {"etag": self.etag}),
            **({} if self.copied_from is None else {"copied_from": path_fields(self.copied_from)[0]}),
            "status": self.status,
            "detail": self.detail,
            "warnings": list(self.warnings),
            "verdict": self.verdict,
            "score": None if self.score is None else round(self.score, 6),
            "calibrated": self.calibrated,
            "tracks": list(self.tracks),
            "frames": list(self.frames),
            "shots": list(self.shots),
            "media": None if self.media is None else dict(self.media),
            "model": None if self.model is None else dict(self.model),
            **({"models": list(self.models)} if self.models else {}),
            **({} if self.pictures is None else {"pictures": list(self.pictures)}),
            "run": self.run,
            "started": self.started,
            "seconds": {stage: round(value, 3) for stage, value in self.seconds.items()},
        }


def dump_line(record: Mapping[str, Any]) -> str:
    """Return a record as one line of JSON that every parser accepts: ASCII, without NaN."""
    return json.dumps(record, allow_nan=False, separators=(",", ":"))


def path_fields(path: bytes) -> tuple[str, str | None]:
    """Return a path as text and, only if the text does not represent it exactly, its bytes in hexadecimal."""
    try:
        return path.decode("utf-8"), None
    except UnicodeDecodeError:
        return path.decode("utf-8", "replace"), path.hex()


def recorded_path(record: Mapping[str, Any]) -> bytes:
    """Return the path of a record as the file system has it.

    Args:
        record: A parsed line of a journal.
    """
    raw = record.get("path_bytes")
    return bytes.fromhex(raw) if raw is not None else str(record["path"]).encode("utf-8")
