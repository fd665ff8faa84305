"""Benchmarks with uniform crops, and a detector whose score is a known function of their colour."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import cv2
import numpy as np

from deepscan.data.benchmarks.benchmark import FaceVideo, write_benchmark
from deepscan.data.benchmarks.benchmark_file import label_of
from deepscan.engines.scorer import Scorer
from deepscan.evaluation import testsets
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.request import Evaluation
from deepscan.models.lookup import load_card
from tests import toy

SIDE = 64
CROSS = PROTOCOLS.get("cross-dataset")
#: Five of six pairs of a real and a fake are ordered correctly; the order of the frames is different.
CELEB = {
    "CelebDFv2_real": {"r0": [10, 30], "r1": [120, 120]},
    "CelebDFv2_fake": {"f0": [40, 80], "f1": [90, 190], "f2": [200, 220]},
}
#: Tolerance: the toy detector averages 12,288 values in float32.
CLOSE = 1e-5
DFD = {"DFD_real": {"r0": [50]}, "DFD_fake": {"f0": [200], "f1": [20]}}


def score_of(*values):
    """Return the toy detector's score of a video with crops of these grey values."""
    return float(np.mean([1 / (1 + np.exp(-(2 * value / 255 - 1))) for value in values]))


def write_crop(path: Path, value: int) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((SIDE, SIDE, 3), value, np.uint8))
    return str(path)


def video(
    data: Path, dataset: str, kind: str, name: str, values: Sequence[int], *, level: str = "", split="test"
) -> FaceVideo:
    """Write the crops of a video and return it."""
    folder = data / dataset / level / kind / "frames" / name
    frames = tuple(write_crop(folder / f"{number:03d}.png", value) for number, value in enumerate(values))
    return FaceVideo(dataset, kind, label_of(kind), split, name, frames, compression=level)


def benchmark(data: Path, dataset: str, kinds: dict, *, level: str = "") -> Path:
    """Write the crops and the file of a data set: kind -> video name -> grey value of each crop."""
    videos = [
        video(data, dataset, kind, name, values, level=level)
        for kind, videos_of_kind in kinds.items()
        for name, values in videos_of_kind.items()
    ]
    path = data / f"{dataset}.json"
    write_benchmark(path, videos, nested=bool(level))
    return path


def toy_scorer(folder: Path, **options) -> Scorer:
    """The toy detector, in a new folder."""
    return Scorer(load_card(str(toy.model(folder, **options))))


def request(data, out, *only, protocol=CROSS, row="qtfp", **options) -> Evaluation:
    """Return an evaluation of the given test sets, or of all of a protocol."""
    return Evaluation(
        protocol=protocol, row=row, data=data, root=None, out=out, cache=out / "crops", only=only, **options
    )


def result_of(report, test, level="video", counting="corrected"):
    """Return the result on a test set."""
    (found,) = [result for result in report.of(counting, level) if result.test == test]
    return found


def scores_of(result):
    """Return the score of each video, by kind and name."""
    rows = result.samples
    return dict(
        zip(zip(rows.kind.texts(), rows.video.texts(), strict=True), rows.scores.tolist(), strict=True)
    )


class Reads:
    """Counts the pictures that an evaluation reads, while `monkeypatch` is active."""

    def __init__(self, monkeypatch) -> None:
        self.seen: Counter[str] = Counter()
        self._lock = Lock()
        self._read = testsets._read
        monkeypatch.setattr(testsets, "_read", self)

    def __call__(self, path, *mode):
        with self._lock:
            self.seen[path] += 1
        return self._read(path, *mode)
