"""Summarise records for overviews, in the order in which people want to see them."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from os.path import commonpath, commonprefix, dirname
from typing import Any, get_args

from deepscan.outcomes import Status, Verdict, track_label
from deepscan.scanning.fusion import agreement, has_vote

#: Kind of outcome, worst first -> its label; empty to use the label of the status.
VERDICT_LABELS = {
    "fake": "fake",
    "inconclusive": "inconclusive",
    "failed": "",
    "no_evidence": "no evidence",
    "outcome": "",
}
#: Status of a video without a verdict -> its label. `ok` is a video that no model has judged.
STATUS_LABELS: dict[Status, str] = {
    "ok": "with a face",
    "no_face": "no face",
    "too_short": "too short",
    "decode_error": "not decoded",
    "timeout": "timed out",
    "unsupported": "unsupported",
    "changed": "changed",
    "error": "not read",
}
#: A track in a warning. Records of earlier versions call it a person, by the same id.
_TRACK = re.compile(r"\b(?:person|track) (\d+)(?=[,:])")


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """The verdict of one of several models on a video.

    Attributes:
        name: Name of the model.
        verdict: The verdict, None if the video has none.
        score: Probability of fake in [0, 1], None likewise.
        votes: Whether the model has a vote: one without calibration has none, nor a weak one next to a good
            one.
    """

    name: str
    verdict: str | None
    score: float | None
    votes: bool

    def __post_init__(self) -> None:
        _check(self.verdict, self.score)


@dataclass(frozen=True, slots=True)
class VideoSummary:
    """The part of a record that an overview needs: ten thousand whole records would fill the memory.

    With several models, it has the verdict of each, and how far they agree. If it was not decoded because
    another video has equal content, it has the path of that one.
    """

    path: str
    status: str
    verdict: str | None
    score: float | None
    note: str
    persons: int
    faces: int
    sampled: int
    models: tuple[ModelSummary, ...] = ()
    agreement: tuple[int, int] | None = None
    copied_from: str = ""

    def __post_init__(self) -> None:
        _check(self.verdict, self.score)

    @property
    def kind(self) -> str:
        """The kind of outcome, a key of `VERDICT_LABELS`."""
        if self.status in ("no_face", "too_short"):
            return "outcome"
        return "failed" if self.status != "ok" else self.verdict or "outcome"

    @property
    def label(self) -> str:
        """The verdict, or the status if there is none, for people."""
        return VERDICT_LABELS[self.kind] or status_label(self.status)

    @property
    def seen(self) -> str:
        """Who was seen in how many frames, for people; empty if nobody was."""
        if self.status != "ok" or not self.persons:
            return ""
        persons = counted(self.persons, "person")
        if self.sampled == 1:
            return f"{persons} in 1 frame"
        frames = f"{self.sampled} frames"
        if self.persons == 1 and self.faces <= self.sampled:
            return f"{persons} in {self.faces} of {frames}"
        return f"{persons}, {counted(self.faces, 'face')} in {frames}"

    @property
    def rank(self) -> tuple[int, float, str]:
        """Sort key of the video among others."""
        return list(VERDICT_LABELS).index(self.kind), -(self.score or 0.0), self.path


def summarise_record(record: Mapping[str, Any]) -> VideoSummary:
    """Return the summary of a record."""
    others = {track["id"] for track in record["tracks"] if track.get("reason") == "no_face"}
    return VideoSummary(
        path=record["path"],
        status=record["status"],
        verdict=record["verdict"],
        score=record["score"],
        note=record["detail"] or "; ".join(shown_warnings(record)),
        persons=len(record["tracks"]) - len(others),
        faces=sum(frame["track"] not in {None, *others} for frame in record["frames"]),
        sampled=len({frame["index"] for frame in record["frames"]}),
        models=tuple(
            ModelSummary(model["name"], model["verdict"], model["score"], has_vote(model))
            for model in record.get("models", ())
        ),
        agreement=agreement(record),
        copied_from=record.get("copied_from", ""),
    )


def shown_warnings(record: Mapping[str, Any]) -> list[str]:
    """Return the warnings of a record for people, who call track 0 "person 1".

    Args:
        record: A parsed line of a journal.
    """
    reasons = {track["id"]: track.get("reason") for track in record["tracks"]}

    def label(found: re.Match[str]) -> str:
        track = int(found[1])
        return track_label(track, reasons[track]) if track in reasons else found[0]

    return [_TRACK.sub(label, line, count=1) for line in record["warnings"]]


def _check(verdict: str | None, score: float | None) -> None:
    if verdict not in (None, *get_args(Verdict)):
        raise ValueError(f"unknown verdict {verdict!r}")
    if (score is None) != (verdict is None) or (score is not None and not 0 <= score <= 1):
        raise ValueError(f"verdict {verdict} with score {score}")


def status_label(status: str) -> str:
    """Return the label of a status; a status that this version does not know is returned unchanged."""
    return STATUS_LABELS.get(status, status)  # type: ignore[call-overload,no-any-return]


def counted(count: int, noun: str) -> str:
    """Return a number with its noun, such as `1 face` or `1,042 faces`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def describe_outcomes(kinds: Mapping[str, int]) -> str:
    """Return counts of outcomes in one line, worst first, such as `2 fake, 1 no face`.

    Args:
        kinds: Verdict, or status of a video without one -> number of videos.
    """
    order = (*get_args(Verdict), *STATUS_LABELS)
    found = sorted((name for name in kinds if kinds[name] and name in order), key=order.index)
    return ", ".join(f"{kinds[name]:,} {VERDICT_LABELS.get(name) or status_label(name)}" for name in found)


def shared_folder(paths: Iterable[str]) -> str:
    """Return the folder or prefix that contains all paths, with a trailing slash, or nothing."""
    # Only the folders are kept: there may be millions of paths.
    folders = {dirname(path) for path in paths}
    if all("://" in folder for folder in folders):
        return _shared_prefix(folders)
    absolute = bool(folders) and all(folder.startswith("/") for folder in folders)
    shared = f"{commonpath(folders).rstrip('/')}/" if absolute else ""
    # A path may begin with two slashes, of which `commonpath` keeps one.
    return shared if all(f"{folder.rstrip('/')}/".startswith(shared) for folder in folders) else ""


def _shared_prefix(folders: Collection[str]) -> str:
    """Return the address that is the beginning of all addresses, with a slash at the end, or nothing."""
    shared = commonprefix([f"{folder}/" for folder in folders])  # noqa: RUF071  # empty parts count in keys
    shared = shared[: shared.rfind("/") + 1]
    return "" if shared.endswith("://") else shared


def printable(text: str) -> str:
    """Return a line with control characters escaped: a name could otherwise change the terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
