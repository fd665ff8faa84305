"""The two countings: sampling, grouping and metrics, with the pitfalls of the benchmark."""

import time

import numpy as np
import pytest

from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.errors import UsageError
from deepscan.evaluation.counting import COUNTINGS, sample, videos_of
from deepscan.evaluation.scores import TEXTS, Column, Scores
from deepscan.metrics.binary import eer, published_eer

CORRECTED, PUBLISHED = COUNTINGS.get("corrected"), COUNTINGS.get("as-published")
METHODS = ("FF-DF", "FF-F2F", "FF-FS", "FF-NT")


def _frames(*rows):
    """Scores of frames, from rows of (kind, label, name, path, score)."""
    kind, label, name, path, score = zip(*rows, strict=True)
    empty = Column.constant("", len(rows))
    return Scores(
        labels=np.array(label),
        scores=np.array(score, dtype=float),
        frames=(~np.isnan(score)).astype(int),
        **dict.fromkeys(TEXTS, empty)
        | {
            "dataset": Column.constant("FaceForensics++", len(rows)),
            "kind": Column.of(kind),
            "video": Column.of(name),
            "folder": Column.of([file.rpartition("/")[0] for file in path]),
        },
    )


def _swap(kind, score, frame=0):
    return kind, 1, "000_003", f"ff/manipulated_sequences/{kind}/c23/frames/000_003/{frame:03d}.png", score


def test_corrected_samples_evenly():
    # linspace(0, 31, 8) = 0, 4.43, 8.86, 13.29, 17.71, 22.14, 26.57, 31.
    assert sample(32, 8, CORRECTED.sampling).tolist() == [0, 4, 8, 13, 17, 22, 26, 31]
    assert sample(100, 1, "even").tolist() == [0]


def test_as_published_uses_the_first_frames():
    assert sample(32, 8, PUBLISHED.sampling).tolist() == list(range(8))


@pytest.mark.parametrize("sampling", ["even", "first"])
def test_all_frames_are_used_if_there_are_few(sampling):
    assert sample(5, 32, sampling).tolist() == [0, 1, 2, 3, 4]
    assert sample(32, 32, sampling).tolist() == list(range(32))
    assert sample(7, 0, sampling).tolist() == list(range(7))
    assert sample(0, 8, sampling).tolist() == []


def test_a_frame_is_never_sampled_twice():
    for frames in range(1, 80):
        for limit in range(1, frames + 1):
            sampled = sample(frames, limit, "even")
            assert len(sampled) == limit == len(set(sampled.tolist()))


def test_corrected_separates_the_four_manipulations_and_as_published_merges_them():
    frames = _frames(*(_swap(kind, 0.2 * number) for number, kind in enumerate(METHODS)))
    apart, merged = (videos_of(frames, counting.video_key) for counting in (CORRECTED, PUBLISHED))
    assert apart.kind.texts() == list(METHODS)
    assert apart.scores == pytest.approx([0, 0.2, 0.4, 0.6])
    assert merged.scores == pytest.approx([0.3])
    assert (merged.labels.tolist(), merged.frames.tolist()) == ([1], [4])


def test_parent2_merges_videos_with_equal_two_folders():
    other = ("FF-DF", 1, "000_003", "x/other/000_003/0.png", 0.9)
    videos = videos_of(_frames(_swap("FF-DF", 0.2), _swap("FF-NT", 0.4), other), "parent2")
    assert videos.scores == pytest.approx([0.3, 0.9])


def test_as_published_counts_a_mixed_video_as_real():
    mixed = ("FF-real", 0, "000_003", "ff/original/frames/000_003/000.png", 0.1)
    frames = _frames(_swap("FF-DF", 0.9, 0), _swap("FF-DF", 0.8, 1), mixed)
    videos = videos_of(frames, PUBLISHED.video_key)
    # int((1 + 1 + 0) / 3) = 0, although two of three frames are fake.
    assert videos.labels.tolist() == [0]
    assert videos.scores == pytest.approx([0.6])
    assert videos_of(frames, CORRECTED.video_key).labels.tolist() == [1, 0]


def test_a_label_that_contains_real_may_be_fake(tmp_path):
    (tmp_path / "whichisreal.json").write_text(
        '{"whichisreal": {"whichisreal_Fake": {"test": {"1": {"label": "whichisreal_Fake", "frames": '
        '["f/1/0.png"]}}}, "whichisreal_Real": {"test": {"1": {"label": "whichisreal_Real", "frames": '
        '["r/1/0.png"]}}}}}'
    )
    for folder in ("f/1", "r/1"):
        (tmp_path / folder).mkdir(parents=True)
    read = read_benchmark(tmp_path / "whichisreal.json").videos
    frames = _frames(*((video.kind, video.label, video.name, video.frames[0], 0.5) for video in read))
    assert videos_of(frames, CORRECTED.video_key).labels.tolist() == [1, 0]
    # Both folders have the same name, so the benchmark merges them into one real video.
    assert videos_of(frames, PUBLISHED.video_key).labels.tolist() == [0]


@pytest.mark.parametrize("rule", ["full", "parent"])
def test_videos_are_in_order_of_first_appearance(rule):
    frames = _frames(
        ("b", 1, "2", "z/0.png", 0.8),
        ("a", 0, "2", "a/0.png", 0.1),
        ("b", 1, "1", "m/0.png", 0.6),
        ("b", 1, "2", "z/1.png", 0.4),
    )
    videos = videos_of(frames, rule)
    assert list(zip(videos.kind.texts(), videos.video.texts(), strict=True)) == [
        ("b", "2"),
        ("a", "2"),
        ("b", "1"),
    ]
    assert videos.scores == pytest.approx([0.6, 0.1, 0.6])
    assert videos.frames.tolist() == [2, 1, 1]


def test_frames_without_a_score_are_ignored():
    frames = _frames(_swap("FF-DF", 0.4, 0), _swap("FF-DF", np.nan, 1), _swap("FF-NT", np.nan, 0))
    videos = videos_of(frames, "full")
    assert videos.frames.tolist() == [1, 0]
    assert videos.scores.tolist() == pytest.approx([0.4, np.nan], nan_ok=True)
    assert videos_of(frames, "parent").scores.tolist() == [0.4]


@pytest.mark.parametrize(("frame", "rule"), [("000.png", "parent"), ("a/000.png", "parent2")])
def test_too_few_folders_are_an_error(frame, rule):
    frames = _frames(_swap("FF-DF", 0.1), ("k", 1, "a", frame, 0.2))
    with pytest.raises(UsageError, match=f"too few folders for --video-key {rule}"):
        videos_of(frames, rule)
    assert len(videos_of(frames.take(np.array([0])), rule)) == 1


@pytest.mark.parametrize("rule", ["full", "parent"])
def test_no_frames_give_no_videos(rule):
    assert not len(videos_of(_frames(_swap("FF-DF", 0.1)).take(np.zeros(0, int)), rule))


def test_corrected_has_all_metrics_at_both_levels_and_as_published_only_the_auc():
    figures = ("auc", "accuracy", "equal_error_rate", "average_precision")
    assert all(CORRECTED.levels(figure) == ("frame", "video") for figure in figures)
    assert [PUBLISHED.levels(figure) for figure in figures] == [("frame", "video"), *[("frame",)] * 3]


def test_only_as_published_counting_uses_the_eer_of_deepfakebench():
    functions = {
        counting.name: counting.measures["equal_error_rate"].function for counting in (CORRECTED, PUBLISHED)
    }
    assert functions == {"corrected": eer, "as-published": published_eer}
    assert list(CORRECTED.measures) == list(PUBLISHED.measures)


@pytest.mark.parametrize("name", COUNTINGS.names)
def test_each_counting_is_explained(name):
    counting = COUNTINGS.get(name)
    assert counting.name == name
    assert len(counting.explained) > 300
    assert "\n" not in counting.explained
    assert ("--video-key parent" in counting.explained) == (name == "as-published")


@pytest.mark.slow
def test_grouping_hundreds_of_thousands_of_frames_is_fast():
    count = 320_000
    score = np.random.default_rng(0).random(count)
    rows = []
    for number, value in enumerate(score):
        name = str(number // 32)
        rows.append(("k", 1, name, f"data/frames/{name}/{number % 32:03d}.png", value))
    frames = _frames(*rows)
    started = time.perf_counter()
    videos = videos_of(frames, "parent")
    # About 0.1 s; a loop over all frames for each video would take hours.
    assert time.perf_counter() - started < 10
    assert videos.scores == pytest.approx(score.reshape(-1, 32).mean(axis=1))
