"""Every data set from files to metrics, on a replica with outcomes counted by hand."""

from collections import Counter
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.data.crops.prepare import PrepareOptions, prepare_dataset
from deepscan.data.datasets import DATASETS, DF40_DOMAINS
from deepscan.errors import MissingError
from deepscan.evaluation import report as report_module
from deepscan.evaluation.protocols import PROTOCOLS
from deepscan.evaluation.request import Evaluation
from deepscan.evaluation.run import EvaluationListener, run_evaluation
from tests import toy
from tests.evaluation.replica import SIDE, toy_scorer

from .clips import make
from .faceforensics_replicas import df40
from .replicas import REPLICAS, UADFV_PICTURES

#: Skipped: of the parts of FaceForensics++ and of the methods of DF40, one is enough.
PARTS = ("FF-DF", "FF-FS", "FF-NT", *(f"_{domain}" for domain in DF40_DOMAINS))
CASES = {
    **{name: replica for name, replica in REPLICAS.items() if not name.endswith(PARTS)},
    "UADFV as pictures": UADFV_PICTURES,
    **{
        f"DF40 {domain}{' as pictures' if cut else ''}": df40(f"uniface_{domain}", cut=cut)
        for domain in DF40_DOMAINS
        for cut in (False, True)
    },
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return make(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    """A detector of the prepared crops, whose score is their brightness."""
    return toy_scorer(tmp_path_factory.mktemp("models") / "toy", side=256)


@pytest.fixture(autouse=True)
def few_bootstrap_rounds(monkeypatch):
    """The tests do not check intervals, and a thousand draws take seconds."""
    monkeypatch.setattr(report_module, "measure_all", partial(report_module.measure_all, rounds=5))
    monkeypatch.setattr(report_module, "measure_kinds", partial(report_module.measure_kinds, rounds=5))


def request(data: Path, protocol: str, row: str, *only: str, **more) -> Evaluation:
    return Evaluation(
        protocol=PROTOCOLS.get(protocol),
        row=row,
        data=data,
        root=None,
        out=data / "out",
        cache=data / "cache",
        only=only,
        **more,
    )


def mask_overlap(crop: str, mask: str) -> float:
    """Return the intersection over union of the green pixels of a crop and the white pixels of its mask."""
    blue, green, red = cv2.split(cv2.imread(crop).astype(int))
    marked = green - np.maximum(blue, red) > 100
    white = cv2.imread(mask, cv2.IMREAD_UNCHANGED) > 127
    assert white.shape == marked.shape and marked.any()
    return float((marked & white).sum() / (marked | white).sum())


@pytest.mark.slow
@pytest.mark.parametrize("replica", CASES.values(), ids=CASES)
def test_a_data_set_can_be_prepared_and_evaluated(replica, clips, scorer, tmp_path):
    root, data = replica.write(tmp_path / "raw", clips), tmp_path / "data"
    layout = DATASETS.get(replica.dataset)

    prepared = prepare_dataset(layout, root, data, PrepareOptions(frames=2, workers=1))
    assert int(prepared.exit_code) == 3, "files that cannot be read are failures"
    outcomes = Counter((line["kind"], line["split"], line["status"]) for line in prepared.lines)
    assert outcomes == replica.outcomes
    assert {line["compression"] for line in prepared.lines} == {"c23" if layout.nested else ""}

    videos = read_benchmark(prepared.json).videos
    assert len(videos) == prepared.videos
    found = Counter((video.kind, video.split, "ok") for video in videos)
    assert found == {key: number for key, number in replica.outcomes.items() if key[2] == "ok"}
    assert all(video.label == layout.labels[video.kind] for video in videos)
    masked = [video for video in videos if video.masks]
    assert Counter(video.kind for video in masked) == replica.masks
    # The edge of the mark is blurred. The overlap with the previous frame would be 0.6.
    shares = [mask_overlap(*pair) for video in masked for pair in zip(video.frames, video.masks, strict=True)]
    assert min(shares, default=1) > 0.95

    report = run_evaluation(request(data, replica.protocol, replica.row, replica.dataset), scorer)
    scored, missing = replica.tested
    (of_videos,), (of_frames,) = (report.of("corrected", level) for level in ("video", "frame"))
    frames = replica.frames or tuple(2 * videos for videos in scored)
    for level_report, numbers in ((of_videos, scored), (of_frames, frames)):
        assert tuple(np.bincount(level_report.samples.labels)) == numbers
        # A video without a crop counts as one frame.
        assert level_report.coverage.missing == missing
        assert (level_report.coverage.n, level_report.coverage.scored) == (
            sum(numbers) + missing.total(),
            sum(numbers),
        )
        assert level_report.value("auc") == 1, "the fake clip is the brighter one"
    all_videos = of_videos.videos
    judged = Counter(
        zip(all_videos.kind.texts(), all_videos.split.texts(), all_videos.status.texts(), strict=True)
    )
    assert judged == {key: number for key, number in replica.outcomes.items() if key[1] == "test"}

    samples = of_videos.samples
    keys = zip(samples.kind.texts(), samples.video.texts(), strict=True)
    tested = {(video.kind, video.name): video.frames for video in videos if video.split == "test"}
    # The toy detector averages 200,000 values in float32.
    assert dict(zip(keys, samples.scores.tolist(), strict=True)) == pytest.approx(
        {key: score_of_crops(frames) for key, frames in tested.items()}, abs=1e-5
    )


def score_of_crops(frames) -> float:
    return float(toy.expected(np.stack([cv2.imread(frame) for frame in frames]), 0).mean())


def pictures(folder: Path, *values: int) -> None:
    """Write pictures with a grey centre and the inverse around it, which gives the opposite score."""
    folder.mkdir(parents=True)
    for at, value in enumerate(values):
        picture = np.full((SIDE + 30, SIDE + 41, 3), 255 - value, np.uint8)
        picture[15:-15, 20:-20] = value
        assert cv2.imwrite(str(folder / f"{at}.png"), picture)


def test_pictures_of_generators_are_evaluated_in_place(tmp_path):
    data, absent_sets = tmp_path / "data", []
    pictures(data / "test/progan/airplane/0_real", 50)
    pictures(data / "test/progan/bird/0_real", 150)
    pictures(data / "test/progan/airplane/1_fake", 100)
    pictures(data / "test/progan/bird/1_fake", 200)
    pictures(data / "test/cyclegan/horse/0_real", 60, 70, 80)
    pictures(data / "diffusion_datasets/laion/0_real", 90, 110)
    pictures(data / "diffusion_datasets/ldm_200/1_fake", 100, 140)
    pictures(data / "diffusion_datasets/dalle/1_fake", 130, 220, 230)
    pictures(data / "diffusion_datasets/guided/1_fake", 130)
    (data / "diffusion_datasets/dalle/1_fake/1.png").write_bytes(b"no picture")

    class Recorder(EvaluationListener):
        def absent(self, test, error):
            absent_sets.append(test.name)

    scorer = toy_scorer(tmp_path / "toy")
    with pytest.raises(MissingError, match="lacks 16 of 19 test sets") as caught:
        run_evaluation(request(data, "universal", "corit"), scorer, Recorder())
    assert "--available" in caught.value.hint
    # One generator has no fakes, the other no matching reals.
    assert len(absent_sets) == 16 and {"cyclegan", "guided"} < set(absent_sets)
    assert not (data / "out").exists()

    report = run_evaluation(request(data, "universal", "corit", available=True), scorer, Recorder())
    found = {test_set.test: test_set for test_set in report.of("corrected", "frame")}
    assert {name: tuple(np.bincount(test_set.samples.labels)) for name, test_set in found.items()} == {
        "progan": (2, 2),
        "ldm_200": (2, 2),
        "dalle": (2, 2),
    }
    assert {
        name: dict(test_set.coverage.missing) for name, test_set in found.items() if test_set.coverage.missing
    } == {"dalle": {"unreadable": 1}}
    # By descending brightness: fake, real, fake, real; fake, real, fake, real; fakes before reals.
    assert {name: test_set.value("average_precision") for name, test_set in found.items()} == pytest.approx(
        {"progan": (1 + 2 / 3) / 2, "ldm_200": (1 + 2 / 3) / 2, "dalle": 1}
    )
    # A score of 0.5 is the grey 127.5. Correct are 50 and 200; 90, 110 and 140; all.
    assert {name: test_set.value("accuracy") for name, test_set in found.items()} == pytest.approx(
        {"progan": 2 / 4, "ldm_200": 3 / 4, "dalle": 1}
    )
    assert report.mean("corrected", "frame", "accuracy") == pytest.approx(3 / 4)
