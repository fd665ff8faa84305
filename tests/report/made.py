"""Make journals by hand, and read the elements of a page."""

import hashlib
import json
from html.parser import HTMLParser
from pathlib import Path

from deepscan.report.page import write_page
from deepscan.scanning.record_lines import RecordLine

MODEL = {
    "name": "m",
    "method": "qtfp",
    "sha256": "ab",
    "engine": "onnx",
    "device": "cpu",
    "precision": "fp32",
}
THRESHOLDS = {
    "level": "frame",
    "data": "<b>hand-made</b>",
    "n": 10,
    "rule": "by hand",
    "temperature": 2.0,
    "no_evidence": 0.3,
    "fake": 0.7,
}
CROP = {"side": 64, "scale": 1.3, "shift": [0.0, 0.0], "interpolation": "linear", "border": "black"}


def face(index, score, track=0, *, box=(10.0, 20.0, 60.0, 90.0), size=50, **more):
    landmarks = [[20, 40], [45, 40], [33, 55], [23, 70], [43, 70]]
    return {"index": index, "pts": index / 10, "track": track, "score": score, **more} | {
        "box": list(box),
        "landmarks": landmarks,
        "probability": 1.0,
        "quality": {"size": size, "sharpness": 99, "pose": 0.1},
    }


def track(score, *, sightings=2, counted=True, **more):
    return {
        "id": 0,
        "score": score,
        "raw": score,
        "sightings": sightings,
        "used": sightings,
        "poor": False,
        "quality": {"size": 50, "sharpness": 99, "pose": 0.1},
        "first": 0.0,
        "last": 2.0,
        "counted": counted,
        **more,
    }


def video(path=b"/v/a.mp4", verdict="fake", score=0.9, **more):
    """Return the record of a video with one person, seen twice."""
    defaults = {
        "sha256": hashlib.sha256(path).hexdigest(),
        "size": 1234,
        "verdict": verdict,
        "score": score,
        "calibrated": True,
        "tracks": [track(score)],
        "frames": [face(0, 0.5), face(20, 0.9)],
        "media": {
            "codec": "h264",
            "container": "mov",
            "width": 100,
            "height": 80,
            "rotation": 0,
            "fps": "10/1",
        }
        | {"duration": 4.0, "frames_sampled": 2, "frames_decoded": 2, "decoder": "pyav"},
        "model": MODEL,
    }
    return RecordLine(path, "ok", "", **{"run": "r1", **defaults, **more}).to_json()


def described(*models, calibration=THRESHOLDS):
    """Return a run's record."""
    engine = {"name": "onnx", "device": "cpu", "precision": "fp32"}
    model = {"name": "m", "method": "qtfp", "license": "MIT", "crop": CROP, "calibration": calibration}
    model["not_for"] = ["deciding <by itself>"]
    several = {}
    if models:
        several = {"models": {name: {**model, "name": name} for name in models}}
        several["engines"] = dict.fromkeys(models, engine)
    return {
        "id": "r1",
        "tool": {"name": "deepscan", "version": "1", "commit": None},
        "parameters": {"frames": 2, "quality": {"min_size": 40}},
        "choice": None,
        "model": {"rule": "by vote"} if models else model,
        "engine": engine,
        "faces": {"name": "mtcnn", "device": "cpu"},
        **several,
        "sessions": [
            {
                "command": ["deepscan", "scan", "<v>"],
                "folder": "/v",
                "started": "2026-01-01",
                "ended": "2026-01-02",
                "exit_code": 0,
                "videos": 0,
                "kept": 0,
                "machine": {"system": "s", "python": "3", "cores": 2},
                "libraries": {"numpy": "2"},
            }
        ],
    }


def journal(folder: Path, *records, run=None):
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    if run is not None:
        (folder / "a.run.json").write_text(json.dumps(run))
    return path


class Page(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.source = path.read_text()
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            attrs
            for name, attrs in self.tags
            if name == tag and all(value in (attrs.get(key) or "").split() for key, value in wanted.items())
        ]

    @property
    def words(self) -> str:
        """The text with single spaces."""
        return " ".join(self.text.split())


def page(folder, *records, run=None, most=9):
    path = journal(folder, *records, run=described() if run is None else run)
    assert write_page(path, folder / "a.html", most=most) == len(records)
    return Page(folder / "a.html")


def together(path, verdicts, scores=(0.9, 0.2), calibrated=(True, True)):
    """Return the record of a scan with two models."""
    named = zip("ab", verdicts, scores, calibrated, strict=True)
    models = [
        {**MODEL, "name": name, "verdict": verdict, "score": score, "calibrated": votes}
        for name, verdict, score, votes in named
    ]
    each = dict(zip("ab", scores, strict=True))
    frames = [face(at, 0.6, scores=each) for at in (0, 20)]
    tracks = [track(0.6, scores={name: {"score": score, "raw": score} for name, score in each.items()})]
    one = verdicts[0] if verdicts[0] == verdicts[1] else "inconclusive"
    model = {"name": "a+b", "method": "fused"}
    return video(path, one, 0.6, model=model, models=models, frames=frames, tracks=tracks)
