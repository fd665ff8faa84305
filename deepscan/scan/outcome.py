"""From all that was seen of one video to its record."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deepscan.faces.face import Face
from deepscan.faces.quality import QualityRule
from deepscan.faces.tracks import Track, link
from deepscan.media.frames import DecodeReport, Status
from deepscan.scan.aggregation import judge, score_track
from deepscan.scan.explanation import Explanation
from deepscan.scan.records import Record
from deepscan.scan.scorer import Scorer


@dataclass(slots=True, eq=False)
class Sighting:
    """A face in a frame and the raw score that it got.

    Attributes:
        face: Where it is and how good.
        raw: Probability of fake in [0, 1]; None before, or without, a detector.
        explanation: What the score was taken from; None unless that was asked for.
    """

    face: Face
    raw: float | None = None
    explanation: Explanation | None = None


def outcome(
    report: DecodeReport,
    *,
    path: bytes,
    sampled: Sequence[tuple[int, float]],
    sightings: Sequence[Sighting],
    scorer: Scorer | None,
    rule: QualityRule,
    failure: str,
    run: str,
    started: str,
    seconds: Mapping[str, float],
) -> Record:
    """Return the record of a video whose stages have all ended.

    Args:
        report: How its decoding ended.
        path: As it was named or found.
        sampled: Index and presentation time of each frame that was looked at.
        sightings: The faces found in them.
        scorer: The detector, None where faces only were wanted.
        rule: Which faces count.
        failure: What a stage after decoding could not do, empty where none failed.
        run: Identifier of the run.
        started: When its scan began.
        seconds: Stage -> seconds.
    """
    status, detail = _status(report, failure, len(sampled), sightings)
    media = report.info and {
        **report.info.to_json(),
        "frames_sampled": report.asked,
        "frames_decoded": report.decoded,
        "decoder": report.decoder,
    }
    common: dict[str, Any] = {
        "path": path,
        "status": status,
        "detail": detail,
        "run": run,
        "sha256": report.sha256,
        "size": report.size,
        "media": media,
        "model": scorer.to_json() if scorer else None,
        "started": started,
        "seconds": seconds,
    }
    if status != "ok":
        return Record(**common, warnings=report.warnings)
    tracks = link([sighting.face for sighting in sightings])
    raw = {sighting.face: sighting.raw for sighting in sightings if sighting.raw is not None}
    calibration = scorer.card.calibration if scorer else None
    scored = [score_track(track, raw if scorer else None, rule, calibration) for track in tracks]
    judgement = judge(scored, len(sampled), calibration)
    return Record(
        **common,
        warnings=(*report.warnings, *judgement.warnings),
        verdict=judgement.verdict,
        score=judgement.score,
        calibrated=judgement.calibrated,
        tracks=[
            {**track.to_json(), "counted": track.track.id in judgement.counted} for track in judgement.tracks
        ],
        frames=_frames(sampled, tracks, {sighting.face: sighting for sighting in sightings}),
    )


def _status(
    report: DecodeReport, failure: str, sampled: int, sightings: Sequence[Sighting]
) -> tuple[Status, str]:
    if report.status != "ok":
        return report.status, report.detail
    if failure:
        return "error", " ".join(failure.split())
    if not sightings:
        return "no_face", f"no face was found in {sampled} sampled frames"
    if any(sighting.raw is not None and not math.isfinite(sighting.raw) for sighting in sightings):
        return "error", "the detector gave no finite score for a face"
    return "ok", ""


def _frames(
    sampled: Sequence[tuple[int, float]], tracks: Sequence[Track], sightings: Mapping[Face, Sighting]
) -> list[dict[str, Any]]:
    lines = []
    for track in tracks:
        for face in track.faces:
            score, explanation = sightings[face].raw, sightings[face].explanation
            line = face.to_json()
            lines.append(
                {
                    "index": line.pop("index"),
                    "pts": line.pop("pts"),
                    "track": track.id,
                    "score": None if score is None else round(score, 6),
                    **line,
                    **({} if explanation is None else {"explanation": explanation}),
                }
            )
    seen = {line["index"] for line in lines}
    lines += [
        {"index": index, "pts": round(pts, 6), "track": None, "score": None, "box": None, "landmarks": None}
        for index, pts in sampled
        if index not in seen
    ]
    return sorted(lines, key=lambda line: (line["index"], -1 if line["track"] is None else line["track"]))
