"""Test which frames are sampled."""

import numpy as np
import pytest

from deepscan.media.sampling import sample_indices


@pytest.mark.parametrize("decodable", [1, 2, 7, 32, 33, 100, 431])
@pytest.mark.parametrize("frames", [1, 2, 8, 32, 500])
def test_indices_are_distinct_ascending_and_in_range(decodable, frames):
    chosen = sample_indices(decodable, frames)
    assert len(chosen) == min(decodable, frames)
    assert list(chosen) == sorted(set(chosen))
    assert chosen[0] == 0 or frames == 1
    assert chosen[-1] < decodable


@pytest.mark.parametrize("decodable", [33, 100, 300])
def test_indices_follow_the_common_rule(decodable):
    assert sample_indices(decodable, 32) == tuple(np.linspace(0, decodable - 1, 32, dtype=int))


@pytest.mark.parametrize(("decodable", "index"), [(1, 0), (2, 0), (3, 1), (100, 49), (101, 50)])
def test_a_single_frame_is_the_middle_one(decodable, index):
    assert sample_indices(decodable, 1) == (index,)


def test_two_frames_are_the_ends():
    assert sample_indices(100, 2) == (0, 99)


def test_nothing_decodable_gives_nothing():
    assert sample_indices(0, 32) == ()


@pytest.mark.parametrize(("decodable", "frames"), [(-1, 8), (10, 0)])
def test_impossible_counts_are_refused(decodable, frames):
    with pytest.raises(ValueError, match="cannot choose"):
        sample_indices(decodable, frames)
