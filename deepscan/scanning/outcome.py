"""Build the record of a video from everything that was found in it."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from deepscan.cards import Calibration
from deepscan.engines.explanation import Explanation
from deepscan.engines.scorer import ModelFacts
from deepscan.faces.face import Face
from deepscan.faces.looks import Looks
from deepscan.faces.quality import QualityRule
from deepscan.faces.shots import ShotSpan, find_shots
from deepscan.faces.still import is_still
from deepscan.faces.tracks import FaceTrack, link
from deepscan.media.frames import DecodeReport, Image
from deepscan.outcomes import Status
from deepscan.scanning.aggregation import Judgement, judge_video, score_track
from deepscan.scanning.fusion import FUSED, ModelVerdict, fuse, fused_name, logit_mean, scoring_only
from deepscan.scanning.options import ScanOptions
from deepscan.scanning.pictures import PictureBuffer
from deepscan.scanning.record_lines import RecordLine
from deepscan.scanning.strength import without_vote
from deepscan.scanning.summary import counted


@dataclass(slots=True, eq=False)
class FaceObservation:
    """A face in a frame, with its raw scores.

    Attributes:
        face: The face.
        raws: Name of the detector -> probability of fake in [0, 1]; empty before scoring, or without
            detectors.
        explanations: Name of the detector -> what its score is based on; empty unless requested.
        seen: Crop for the face filter until it has been used, None without the filter.
    """

    face: Face
    raws: dict[str, float] = field(default_factory=dict)
    explanations: dict[str, Explanation] = field(default_factory=dict)
    seen: Image | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ExtractedVideo:
    """A video whose faces have been found; with the scores of its faces, its record can be built.

    It can be pickled. The crops for the detectors travel apart, see `scanning.extract_stage`.

    Attributes:
        id: Id of its job.
        path: Path of the video as bytes, as it was named or found.
        report: How its decoding ended.
        started: Time at which its scan began, UTC.
        sampled: Index and presentation time of each sampled frame.
        observations: The faces found in them. They receive their scores later.
        failure: Error message of a stage after decoding; empty on success.
        seconds: Stage -> seconds.
        thumbnails: Thumbnail of each sampled frame, for finding shots. Without them, the video counts as a
            single shot.
        pictures: Pictures of its frames and faces, None if none are kept.
    """

    id: int
    path: bytes
    report: DecodeReport
    started: str
    sampled: Sequence[tuple[int, float]]
    observations: Sequence[FaceObservation]
    failure: str
    seconds: Mapping[str, float]
    thumbnails: Sequence[Image] = ()
    pictures: PictureBuffer | None = None


def build_record(
    video: ExtractedVideo,
    models: Sequence[ModelFacts],
    options: ScanOptions,
    run: str,
    *,
    least_face: float = 0.0,
    looks: Looks | None = None,
) -> RecordLine:
    """Return the record of a video whose stages have all ended.

    Args:
        video: The video, with the scores of its faces by each model.
        models: The detectors, empty if only faces were requested. They need not be loaded here.
        options: The scan's parameters.
        run: Identifier of the run.
        least_face: Minimum score by the face filter, in [0, 1], to count as a face.
        looks: Recognises a person's faces in other shots, None to use their appearance only.
    """
    report, sampled, observations, rule = video.report, video.sampled, video.observations, options.quality
    status, detail = _status(report, video.failure, len(sampled), observations)
    media = report.info and {
        **report.info.to_json(),
        "frames_sampled": report.asked,
        "frames_decoded": report.decoded,
        "decoder": report.decoder,
    }
    common: dict[str, Any] = {
        "path": video.path,
        "status": status,
        "detail": detail,
        "run": run,
        "sha256": report.sha256,
        "size": report.size,
        "mtime_ns": report.mtime_ns,
        "media": media,
        "started": video.started,
        "seconds": video.seconds,
    }
    if status != "ok":
        return RecordLine(**common, **_model_entries(models, {}), warnings=report.warnings)
    shots = _shots(sampled, video.thumbnails)
    linked = link([observation.face for observation in observations], shots, looks)
    tracks = _classify(linked, rule, least_face)
    judgement, verdicts = judge(
        tracks,
        {model.name: {seen.face: seen.raws[model.name] for seen in observations} for model in models},
        {model.name: model.calibration for model in models},
        mute=without_vote(models) if len(models) > 1 else {},
        rule=rule,
        sampled=len(sampled),
        min_share=options.min_share,
        shots=shots,
    )
    if not any(track.is_face for track in tracks):
        common["status"] = "no_face"
        common["detail"] = _no_face(len(sampled), len(tracks))
    return RecordLine(
        **common,
        **_model_entries(models, verdicts),
        warnings=(*report.warnings, *judgement.warnings),
        verdict=judgement.verdict,
        score=judgement.score,
        calibrated=judgement.calibrated and judgement.score is not None,
        tracks=track_lines(judgement, verdicts),
        frames=_frames(
            sampled,
            tracks,
            {observation.face: observation for observation in observations},
            scoring_only(verdicts),
        ),
        shots=[shot.to_json() for shot in shots],
    )


def _shots(sampled: Sequence[tuple[int, float]], thumbnails: Sequence[Image]) -> list[ShotSpan]:
    if thumbnails:
        return find_shots(sampled, thumbnails)
    (first, start), (last, end) = min(sampled), max(sampled)
    return [ShotSpan(0, first, last, start, end)]


def _status(
    report: DecodeReport, failure: str, sampled: int, observations: Sequence[FaceObservation]
) -> tuple[Status, str]:
    if report.status != "ok":
        return report.status, report.detail
    if failure:
        return "error", " ".join(failure.split())
    if not observations:
        return "no_face", _no_face(sampled)
    if not all(math.isfinite(raw) for observation in observations for raw in observation.raws.values()):
        return "error", "the detector returned a score that is not finite"
    return "ok", ""


def _no_face(sampled: int, tracks: int = 0) -> str:
    message = f"no face was found in {counted(sampled, 'sampled frame')}"
    return f"{message}; none of {counted(tracks, 'candidate')} looks like a face" if tracks else message


def _classify(tracks: Sequence[FaceTrack], rule: QualityRule, least_face: float) -> list[FaceTrack]:
    """Return the tracks, marked as faces or not, and as still or not."""
    return [
        replace(
            track,
            is_face=track.face_score >= least_face,
            still=is_still([face for face in track.faces if rule.admits(face)]),
        )
        for track in tracks
    ]


def judge(
    tracks: Sequence[FaceTrack],
    raws: Mapping[str, Mapping[Face, float]],
    calibrations: Mapping[str, Calibration | None],
    *,
    mute: Mapping[str, str],
    rule: QualityRule,
    sampled: int,
    min_share: float,
    shots: Sequence[ShotSpan],
) -> tuple[Judgement, dict[str, ModelVerdict]]:
    """Return the judgement of all detectors together on a video, and each detector's verdict.

    It is called by the scan, and by `scanning.recomputation` on what the record has kept.

    Args:
        tracks: One per person, at least one.
        raws: Name of the detector -> raw score of each face in [0, 1]; empty without a detector.
        calibrations: Name of the detector -> its calibration, None if it has none.
        mute: Name of the detector -> why it has no vote among the others.
        rule: Which faces count.
        sampled: Number of sampled frames.
        min_share: As for `judge_video`.
        shots: The video's shots.
    """
    models = {}
    for name, raw in raws.items():
        calibration = calibrations[name]
        scored = [score_track(track, raw, rule, calibration, shots) for track in tracks]
        judged = judge_video(scored, sampled, calibration, min_share=min_share)
        models[name] = ModelVerdict(judged, calibration, mute.get(name, ""))
    if len(models) > 1:
        return fuse(models, sampled, min_share), models
    if models:
        (only,) = models.values()
        return only.judgement, models
    return judge_video([score_track(track, None, rule, None, shots) for track in tracks], sampled, None), {}


def _model_entries(models: Sequence[ModelFacts], verdicts: Mapping[str, ModelVerdict]) -> dict[str, Any]:
    """Return a record's entries about its models; with several, also the verdict of each."""
    if len(models) < 2:
        return {"model": models[0].to_json() if models else None}
    entries = [{**model.to_json(), **_verdict_entry(verdicts.get(model.name))} for model in models]
    name = fused_name([model.name for model in models])
    return {"model": {"name": name, "method": FUSED}, "models": entries}


def _verdict_entry(model: ModelVerdict | None) -> dict[str, Any]:
    if model is None:
        return {"verdict": None, "score": None, "calibrated": False, "vote": False}
    judgement = model.judgement
    score = None if judgement.score is None else round(judgement.score, 6)
    return {
        "verdict": judgement.verdict,
        "score": score,
        "calibrated": judgement.calibrated,
        "vote": model.votes,
        **({"no_vote": model.no_vote} if model.no_vote else {}),
    }


def track_lines(judgement: Judgement, models: Mapping[str, ModelVerdict]) -> list[dict[str, Any]]:
    """Return a record's entry for each person.

    Args:
        judgement: As returned by `judge`.
        models: As returned by `judge`.
    """
    lines = []
    for index, track in enumerate(judgement.tracks):
        aside = judgement.aside.get(track.track.id)
        line = {**track.to_json(), "counted": aside is None, "reason": aside}
        if len(models) > 1:
            own = {name: model.judgement.tracks[index].to_json() for name, model in models.items()}
            line["scores"] = {name: _pair(entry) for name, entry in own.items()}
            line["worst_shots"] = {name: entry["worst_shot"] for name, entry in own.items()}
            for number, shot in enumerate(line["shots"]):
                shot["scores"] = {name: _pair(entry["shots"][number]) for name, entry in own.items()}
        lines.append(line)
    return lines


def _pair(line: Mapping[str, Any]) -> dict[str, Any]:
    return {key: line[key] for key in ("score", "raw")}


def _frames(
    sampled: Sequence[tuple[int, float]],
    tracks: Sequence[FaceTrack],
    observations: Mapping[Face, FaceObservation],
    models: Collection[str],
) -> list[dict[str, Any]]:
    lines = []
    for track in tracks:
        for face in track.faces:
            line = face.to_json()
            lines.append(
                {
                    "index": line.pop("index"),
                    "pts": line.pop("pts"),
                    "track": track.id,
                    **_scored(observations[face], line, models),
                }
            )
    seen = {line["index"] for line in lines}
    lines += [
        {"index": index, "pts": round(pts, 6), "track": None, "score": None, "box": None, "landmarks": None}
        for index, pts in sampled
        if index not in seen
    ]
    return sorted(lines, key=lambda line: (line["index"], -1 if line["track"] is None else line["track"]))


def _scored(observation: FaceObservation, line: Mapping[str, Any], models: Collection[str]) -> dict[str, Any]:
    """Return a face's line with its score in front; with several models, also their scores by name."""
    raws, explained = observation.raws, observation.explanations
    if len(raws) > 1:
        by_name = {name: round(raw, 6) for name, raw in raws.items()}
        scores = {"score": round(logit_mean([raws[name] for name in models]), 6), "scores": by_name}
        return {**scores, **line, **({"explanation": explained} if explained else {})}
    score = next((round(raw, 6) for raw in raws.values()), None)
    explanation = next(iter(explained.values()), None)
    return {"score": score, **line, **({} if explanation is None else {"explanation": explanation})}
