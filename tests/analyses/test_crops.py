"""Drawing crops, and reading them in order without unreadable ones."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepscan.analyses.crops import draw_crops, note_unreadable, read_batches
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import MissingError, UsageError
from tests.analyses.datasets import dataset, read, subject


def test_crops_are_spread_evenly_over_videos() -> None:
    drawn = draw_crops(subject([dataset("a", reals=(1, 4, 9), fakes=(2, 2))], max_crops=6))

    reals = Counter(crop.video.name for crop in drawn if crop.label == 0)
    assert reals in ({"real-0": 1, "real-1": 3, "real-2": 2}, {"real-0": 1, "real-1": 2, "real-2": 3})
    assert Counter(crop.video.name for crop in drawn if crop.label == 1) == {"fake-0": 2, "fake-1": 2}
    assert len({(crop.video.name, crop.number) for crop in drawn}) == len(drawn)


def test_a_limit_of_zero_draws_all_crops() -> None:
    drawn = draw_crops(subject([dataset("a", reals=(3,), fakes=(5, 1))], max_crops=0))

    assert sorted((crop.video.name, crop.number) for crop in drawn) == [
        *(("fake-0", number) for number in range(5)),
        ("fake-1", 0),
        *(("real-0", number) for number in range(3)),
    ]


def test_the_draw_depends_on_the_seed_but_not_on_other_data_sets() -> None:
    a, b = dataset("a", reals=(9,) * 9, fakes=(9,) * 9), dataset("b", reals=(9,) * 9, fakes=(9,) * 9)

    def of_a(*datasets, seed=1):
        drawn = draw_crops(subject(datasets, max_crops=4, seed=seed))
        return [(crop.video.name, crop.number) for crop in drawn if crop.dataset == "a"]

    assert of_a(a) == of_a(b, a)
    assert of_a(a) != of_a(a, seed=2)


def test_groups_are_shared_by_data_sets_but_names_are_not() -> None:
    a, b = (dataset(name, reals=(1, 1), fakes=(1,)) for name in "ab")
    a, b = (replace(source, groups={(f"{source.name}-real", "real-0"): "person"}) for source in (a, b))

    groups = {(crop.dataset, crop.video.name): crop.group for crop in draw_crops(subject([a, b]))}

    assert groups["a", "real-0"] == groups["b", "real-0"] == "person"
    assert groups["a", "real-1"] != groups["b", "real-1"]
    assert len(set(groups.values())) == 5


def test_both_labels_may_be_required() -> None:
    reals = dataset("a", reals=(2,), fakes=())

    with pytest.raises(UsageError, match="no fake crops"):
        draw_crops(subject([reals]))
    assert len(draw_crops(subject([reals]), both=False)) == 2
    with pytest.raises(MissingError, match="no crops"):
        draw_crops(subject([dataset("a", reals=(0,), fakes=())]))


def test_batches_are_in_order_without_unreadable_crops(tmp_path: Path) -> None:
    def partly_unreadable(video: FaceVideo, number: int) -> np.ndarray | None:
        return None if number == 1 else read(video, number)

    with_gaps = replace(dataset("a", reals=(4,), fakes=(3,)), read=partly_unreadable)
    drawn = draw_crops(subject([with_gaps], max_crops=0))
    progress: list[tuple[int, int]] = []

    batches = list(read_batches(drawn, 3, lambda done, total: progress.append((done, total))))

    assert [crop for crops, _ in batches for crop in crops] == [crop for crop in drawn if crop.number != 1]
    for crops, pixels in batches:
        expected = [read(crop.video, crop.number) for crop in crops]
        np.testing.assert_array_equal(pixels, np.stack(expected))
    assert progress == [(3, 7), (6, 7), (7, 7)]


def test_unreadable_crops_are_noted() -> None:
    assert note_unreadable(7, 7) == ()
    assert note_unreadable(7, 5) == ("2 of 7 crops are unreadable and were skipped",)
    with pytest.raises(MissingError, match="none of the 7 crops"):
        note_unreadable(7, 0)
