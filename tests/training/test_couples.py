"""Couples of reals and fakes: the closest real, and origins that do not reveal the label."""

from collections import Counter

import numpy as np
import pytest

from deepscan.training.couples import MOST, couples
from tests.training.conftest import crop_set

COUNT = 4000


def _crops(rows):
    """Return crops from rows (label, group, origin, pair)."""
    labels, groups, origins, pairs = zip(*rows, strict=True)
    return crop_set(labels, groups, origins=origins, pairs=pairs)


def _drawn(crops, count=COUNT, seed=0, **options):
    return couples(crops, np.arange(len(crops.labels)), count, np.random.default_rng(seed), **options)


@pytest.fixture
def mixed():
    """An origin with both labels, one with only fakes, and one with only reals."""
    return _crops(
        [
            *((label, f"both-{group}", "both", "") for group in range(9) for label in (0, 1)),
            *((1, f"fakes-{group}", "fakes", "") for group in range(9)),
            *((0, f"reals-{group}", "reals", "") for group in range(9)),
        ]
    )


def test_a_couple_is_a_real_and_a_fake(mixed):
    drawn = _drawn(mixed)
    assert drawn.shape == (COUNT, 2)
    assert set(mixed.labels[drawn[:, 0]]) == {0}
    assert set(mixed.labels[drawn[:, 1]]) == {1}


def test_an_origin_with_both_labels_has_as_many_of_each(mixed):
    origins = np.array(mixed.origins)
    reals, fakes = (Counter(origins[column].tolist()) for column in _drawn(mixed).T)
    assert reals["both"] == fakes["both"] > 0
    assert reals["reals"] == fakes["fakes"] > 0
    assert set(reals) == {"both", "reals"}


def test_an_origin_with_both_labels_is_drawn_more_often(mixed):
    fakes = Counter(np.array(mixed.origins)[_drawn(mixed)[:, 1]].tolist())
    # The same number of groups with a factor of 1.5: three of five.
    assert fakes["both"] / COUNT == pytest.approx(0.6, abs=0.03)


def test_the_real_shares_the_pair_or_else_the_group_or_else_the_origin():
    crops = _crops(
        [
            (0, "a", "one", "p"),
            (0, "b", "one", ""),
            (0, "c", "one", ""),
            (1, "b", "one", "p"),
            (1, "c", "one", "q"),
            (1, "d", "one", ""),
            (0, "d", "two", ""),
        ]
    )
    partners = {}
    for real, fake in _drawn(crops, 500).tolist():
        partners.setdefault(fake, set()).add(real)
    assert partners == {3: {0}, 4: {2}, 5: {0, 1, 2}}


def _fakes_by_origin(sizes, **options):
    """Count the drawn fakes of each origin, for origins with the given numbers of groups."""
    crops = _crops(
        [
            (label, f"{name}-{group}", name, "")
            for name, size in sizes.items()
            for group in range(size)
            for label in (0, 1)
        ]
    )
    return Counter(np.array(crops.origins)[_drawn(crops, **options)[:, 1]].tolist())


def test_an_origins_share_is_proportional_to_the_root_of_its_groups():
    fakes = _fakes_by_origin({"small": 4, "large": 400})
    assert fakes["large"] / fakes["small"] == pytest.approx(10, rel=0.2)


def test_with_equal_groups_the_share_is_proportional_to_them_up_to_a_limit():
    fakes = _fakes_by_origin({"small": 40, "large": 100, "huge": 2 * MOST}, equal=True)
    assert fakes["large"] / fakes["small"] == pytest.approx(2.5, rel=0.15)
    assert fakes["huge"] / fakes["small"] == pytest.approx(MOST / 40, rel=0.15)


def test_self_made_couples_are_a_real_of_any_origin_twice(mixed):
    drawn = _drawn(mixed, self_made=0.3)
    twice = drawn[:, 0] == drawn[:, 1]
    assert len(drawn) == COUNT
    assert twice.mean() == pytest.approx(0.3, abs=0.03)
    assert set(mixed.labels[drawn[twice, 0]]) == {0}
    assert {mixed.origins[row] for row in drawn[twice, 0]} == {"both", "reals"}
    # They are shuffled among the others.
    assert 0.2 < twice[: COUNT // 2].mean() < 0.4


def test_further_reals_are_only_in_self_made_couples(mixed):
    positions = np.arange(len(mixed.labels) - 1)
    last = np.array([len(mixed.labels) - 1])
    drawn = couples(mixed, positions, COUNT, np.random.default_rng(0), self_made=0.5, more=last)
    with_last = (drawn == last).any(axis=1)
    assert with_last.any()
    assert (drawn[with_last] == last).all()


def test_a_groups_share_does_not_depend_on_its_size():
    crops = _crops([(0, "r", "r", ""), *((1, "many", "f", ""),) * 50, (1, "one", "f", "")])
    fakes = _drawn(crops)[:, 1]
    assert (fakes == 51).mean() == pytest.approx(0.5, abs=0.03)


def test_a_fake_without_reals_takes_any_real_if_every_origin_has_fakes():
    crops = _crops([(0, "a", "both", ""), (1, "a", "both", ""), (1, "b", "fakes", "")])
    assert {tuple(pair) for pair in _drawn(crops, 50).tolist()} == {(0, 1), (0, 2)}


def test_couples_depend_only_on_the_generator(mixed):
    assert np.array_equal(_drawn(mixed, 50), _drawn(mixed, 50))
    assert not np.array_equal(_drawn(mixed, 50), _drawn(mixed, 50, seed=1))
