"""Which crops are drawn, and that they come in order, with what could not be read left out."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deepscan.analyses.crops import draw_crops, note_unread, read_batches
from deepscan.data.benchmarks.benchmark import FaceVideo
from deepscan.errors import MissingError, UsageError
from tests.analyses.datasets import dataset, read, subject


def test_a_video_gives_a_second_crop_only_after_all_have_given_one() -> None:
    drawn = draw_crops(subject([dataset("a", reals=(1, 4, 9), fakes=(2, 2))], most=6))

    reals = Counter(crop.video.name for crop in drawn if crop.label == 0)
    assert reals in ({"real-0": 1, "real-1": 3, "real-2": 2}, {"real-0": 1, "real-1": 2, "real-2": 3})
    assert Counter(crop.video.name for crop in drawn if crop.label == 1) == {"fake-0": 2, "fake-1": 2}
    assert len({(crop.video.name, crop.number) for crop in drawn}) == len(drawn)


def test_none_at_most_is_all() -> None:
    drawn = draw_crops(subject([dataset("a", reals=(3,), fakes=(5, 1))], most=0))

    assert sorted((crop.video.name, crop.number) for crop in drawn) == [
        *(("fake-0", number) for number in range(5)),
        ("fake-1", 0),
        *(("real-0", number) for number in range(3)),
    ]


def test_what_is_drawn_hangs_on_the_seed_and_on_no_other_data_set() -> None:
    a, b = dataset("a", reals=(9,) * 9, fakes=(9,) * 9), dataset("b", reals=(9,) * 9, fakes=(9,) * 9)

    def of_a(*datasets, seed=1):
        drawn = draw_crops(subject(datasets, most=4, seed=seed))
        return [(crop.video.name, crop.number) for crop in drawn if crop.dataset == "a"]

    assert of_a(a) == of_a(b, a)
    assert of_a(a) != of_a(a, seed=2)


def test_a_group_is_one_in_every_data_set_and_a_name_only_in_its_own() -> None:
    a, b = (dataset(name, reals=(1, 1), fakes=(1,)) for name in "ab")
    a, b = (replace(source, groups={(f"{source.name}-real", "real-0"): "person"}) for source in (a, b))

    groups = {(crop.dataset, crop.video.name): crop.group for crop in draw_crops(subject([a, b]))}

    assert groups["a", "real-0"] == groups["b", "real-0"] == "person"
    assert groups["a", "real-1"] != groups["b", "real-1"]
    assert len(set(groups.values())) == 5


def test_crops_of_both_labels_are_asked_for_or_not() -> None:
    reals = dataset("a", reals=(2,), fakes=())

    with pytest.raises(UsageError, match="no fake crop"):
        draw_crops(subject([reals]))
    assert len(draw_crops(subject([reals]), both=False)) == 2
    with pytest.raises(MissingError, match="no crops"):
        draw_crops(subject([dataset("a", reals=(0,), fakes=())]))


def test_batches_come_in_order_and_without_what_cannot_be_read(tmp_path: Path) -> None:
    def spotty(video: FaceVideo, number: int) -> np.ndarray | None:
        return None if number == 1 else read(video, number)

    holed = replace(dataset("a", reals=(4,), fakes=(3,)), read=spotty)
    drawn = draw_crops(subject([holed], most=0))
    progress: list[tuple[int, int]] = []

    got = list(read_batches(drawn, 3, lambda done, total: progress.append((done, total))))

    assert [crop for crops, _ in got for crop in crops] == [crop for crop in drawn if crop.number != 1]
    for crops, pixels in got:
        expected = [read(crop.video, crop.number) for crop in crops]
        np.testing.assert_array_equal(pixels, np.stack(expected))
    assert progress == [(3, 7), (6, 7), (7, 7)]


def test_what_could_not_be_read_is_told() -> None:
    assert note_unread(7, 7) == ()
    assert note_unread(7, 5) == ("2 of 7 crops could not be read and are left out",)
    with pytest.raises(MissingError, match="none of the 7 crops"):
        note_unread(7, 0)
