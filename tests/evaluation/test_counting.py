"""The two ways to count: what each takes, groups and measures, the benchmark's traps included."""

import time

import numpy as np
import pytest

from deepscan.data.benchmarks.benchmark import read_benchmark
from deepscan.errors import UsageError
from deepscan.evaluation.counting import COUNTINGS, FrameRows, group, sample, video_key
from deepscan.metrics.binary import eer, published_eer

CORRECTED, PUBLISHED = COUNTINGS.get("corrected"), COUNTINGS.get("as-published")
METHODS = ("FF-DF", "FF-F2F", "FF-FS", "FF-NT")


def _rows(*frames):
    """Rows of (kind, label, name, path, score)."""
    kind, label, name, path, score = zip(*frames, strict=True)
    return FrameRows(
        ["FaceForensics++"] * len(frames), kind, np.array(label), name, path, np.array(score, dtype=float)
    )


def _swap(kind, score, frame=0):
    return kind, 1, "000_003", f"ff/manipulated_sequences/{kind}/c23/frames/000_003/{frame:03d}.png", score


def test_frames_are_taken_from_the_first_to_the_last():
    # linspace(0, 31, 8) = 0, 4.43, 8.86, 13.29, 17.71, 22.14, 26.57, 31.
    assert sample(32, 8, CORRECTED.sampling).tolist() == [0, 4, 8, 13, 17, 22, 26, 31]
    assert sample(100, 1, "even").tolist() == [0]


def test_as_published_takes_the_first_frames():
    assert sample(32, 8, PUBLISHED.sampling).tolist() == list(range(8))


@pytest.mark.parametrize("sampling", ["even", "first"])
def test_all_frames_are_taken_where_there_are_no_more(sampling):
    assert sample(5, 32, sampling).tolist() == [0, 1, 2, 3, 4]
    assert sample(32, 32, sampling).tolist() == list(range(32))
    assert sample(7, 0, sampling).tolist() == list(range(7))
    assert sample(0, 8, sampling).tolist() == []


def test_a_frame_is_never_taken_twice():
    for frames in range(1, 80):
        for wanted in range(1, frames + 1):
            taken = sample(frames, wanted, "even")
            assert len(taken) == wanted == len(set(taken.tolist()))


def test_corrected_keeps_the_four_manipulations_of_a_pair_apart():
    videos = group(_rows(*(_swap(kind, 0.2 * at) for at, kind in enumerate(METHODS))), CORRECTED.video_key)
    assert videos.keys == tuple(("FaceForensics++", kind, "000_003") for kind in METHODS)
    assert videos.score == pytest.approx([0, 0.2, 0.4, 0.6])


def test_as_published_merges_the_four_manipulations_of_a_pair():
    videos = group(_rows(*(_swap(kind, 0.2 * at) for at, kind in enumerate(METHODS))), PUBLISHED.video_key)
    assert videos.keys == (("000_003",),)
    assert videos.score == pytest.approx([0.3])
    assert videos.label.tolist() == [1]
    assert videos.of_frame.tolist() == [0, 0, 0, 0]


def test_parent2_merges_what_two_folders_cannot_tell_apart():
    rows = _rows(
        _swap("FF-DF", 0.2), _swap("FF-NT", 0.4), ("FF-DF", 1, "000_003", "x/other/000_003/0.png", 0.9)
    )
    videos = group(rows, "parent2")
    assert videos.keys == (("frames", "000_003"), ("other", "000_003"))
    assert videos.score == pytest.approx([0.3, 0.9])


def test_as_published_takes_a_mixed_video_for_real():
    mixed = ("FF-real", 0, "000_003", "ff/original/frames/000_003/000.png", 0.1)
    rows = _rows(_swap("FF-DF", 0.9, 0), _swap("FF-DF", 0.8, 1), mixed)
    videos = group(rows, PUBLISHED.video_key)
    # int((1 + 1 + 0) / 3) = 0, though two frames of three are fake.
    assert (videos.label.tolist(), videos.mixed.tolist()) == ([0], [True])
    assert videos.score == pytest.approx([0.6])
    apart = group(rows, CORRECTED.video_key)
    assert (apart.label.tolist(), apart.mixed.tolist()) == ([1, 0], [False, False])


def test_as_published_groups_paths_with_backslashes():
    rows = _rows(("k", 1, "a", "ff\\frames\\a\\000.png", 0.2), ("k", 1, "a", "ff/frames/a/001.png", 0.4))
    assert group(rows, "parent").keys == (("a",),)


def test_a_label_that_names_the_real_is_not_real(tmp_path):
    (tmp_path / "whichisreal.json").write_text(
        '{"whichisreal": {"whichisreal_Fake": {"test": {"1": {"label": "whichisreal_Fake", "frames": '
        '["f/1/0.png"]}}}, "whichisreal_Real": {"test": {"1": {"label": "whichisreal_Real", "frames": '
        '["r/1/0.png"]}}}}}'
    )
    for folder in ("f/1", "r/1"):
        (tmp_path / folder).mkdir(parents=True)
    read = read_benchmark(tmp_path / "whichisreal.json").videos
    rows = FrameRows(
        [video.dataset for video in read],
        [video.kind for video in read],
        np.array([video.label for video in read]),
        [video.name for video in read],
        [video.frames[0] for video in read],
        np.array([0.9, 0.1]),
    )
    assert group(rows, CORRECTED.video_key).label.tolist() == [1, 0]
    # The folders of both have the same name, so the benchmark takes the two for one, real, video.
    merged = group(rows, PUBLISHED.video_key)
    assert (merged.keys, merged.label.tolist()) == ((("1",),), [0])


def test_videos_come_in_the_order_of_their_first_frames_however_frames_are_mixed():
    rows = _rows(
        ("b", 1, "2", "z/0.png", 0.8),
        ("a", 0, "2", "a/0.png", 0.1),
        ("b", 1, "1", "m/0.png", 0.6),
        ("b", 1, "2", "z/1.png", 0.4),
    )
    for rule, keys in (
        (
            "full",
            [("FaceForensics++", "b", "2"), ("FaceForensics++", "a", "2"), ("FaceForensics++", "b", "1")],
        ),
        ("parent", [("z",), ("a",), ("m",)]),
    ):
        videos = group(rows, rule)
        assert list(videos.keys) == keys
        assert videos.score == pytest.approx([0.6, 0.1, 0.6])
        assert (videos.frames.tolist(), videos.of_frame.tolist()) == ([2, 1, 1], [0, 1, 2, 0])


def test_frames_without_a_score_count_for_nothing():
    rows = _rows(_swap("FF-DF", 0.4, 0), _swap("FF-DF", np.nan, 1), _swap("FF-NT", np.nan, 0))
    videos = group(rows, "full")
    assert videos.frames.tolist() == [1, 0]
    assert videos.score[0] == pytest.approx(0.4)
    assert np.isnan(videos.score[1])


def test_one_video_of_both_labels_is_refused():
    with pytest.raises(UsageError, match=r"FaceForensics\+\+/k/a is stated as real and as fake"):
        group(_rows(("k", 1, "a", "p/0.png", 0.2), ("k", 0, "a", "p/1.png", 0.4)), "full")


@pytest.mark.parametrize(("frame", "rule"), [("000.png", "parent"), ("a/000.png", "parent2")])
def test_too_few_folders_are_told(frame, rule):
    with pytest.raises(UsageError, match=f"too few folders for --video-key {rule}"):
        group(_rows(("k", 1, "a", frame, 0.2)), rule)


def test_nothing_makes_no_video():
    nothing = FrameRows([], [], np.zeros(0, dtype=int), [], [], np.zeros(0))
    assert all(group(nothing, rule).keys == () for rule in ("full", "parent"))


def test_rows_check_themselves():
    with pytest.raises(ValueError, match="unequal length"):
        FrameRows(["d"], ["k"], np.array([1]), ["n"], [], np.array([0.5]))
    with pytest.raises(ValueError, match="neither 0 nor 1"):
        FrameRows(["d"], ["k"], np.array([2]), ["n"], ["p/0.png"], np.array([0.5]))


def test_corrected_gives_every_figure_at_both_levels_and_as_published_only_the_auc():
    figures = ("auc", "accuracy", "equal_error_rate", "average_precision")
    assert all(CORRECTED.levels(figure) == ("frame", "video") for figure in figures)
    assert [PUBLISHED.levels(figure) for figure in figures] == [("frame", "video"), *[("frame",)] * 3]


def test_the_equal_error_rate_is_that_of_deepfakebench_in_as_published_counting_alone():
    at = {way.name: way.measures["equal_error_rate"].function for way in (CORRECTED, PUBLISHED)}
    assert at == {"corrected": eer, "as-published": published_eer}
    assert list(CORRECTED.measures) == list(PUBLISHED.measures)


@pytest.mark.parametrize("name", COUNTINGS.names)
def test_each_way_says_what_it_does(name):
    counting = COUNTINGS.get(name)
    assert counting.name == name
    assert len(counting.explained) > 300
    assert "\n" not in counting.explained
    assert ("--video-key parent" in counting.explained) == (name == "as-published")


def test_one_frame_has_one_key_under_each_rule():
    place = ("DFDC", "DFDC_Fake", "abc", "crops/test/frames/abc/000.png")
    assert video_key(*place, "full") == ("DFDC", "DFDC_Fake", "abc")
    assert video_key(*place, "parent") == ("abc",)
    assert video_key(*place, "parent2") == ("frames", "abc")


def test_hundreds_of_thousands_of_frames_are_grouped_at_once():
    count = 320_000
    name = [str(at // 32) for at in range(count)]
    frame = [f"data/frames/{at // 32}/{at % 32:03d}.png" for at in range(count)]
    score = np.random.default_rng(0).random(count)
    rows = FrameRows(["d"] * count, ["k"] * count, np.ones(count, dtype=int), name, frame, score)
    begun = time.perf_counter()
    videos = group(rows, "parent")
    # 0.1 s on the machine that it was written on; a loop that looks at all frames for each video takes hours.
    assert time.perf_counter() - begun < 10
    assert videos.score == pytest.approx(score.reshape(-1, 32).mean(axis=1))
