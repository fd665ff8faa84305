"""Frame sampling keeps its promises for any length of video and any number of frames."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from deepscan.media.sampling import sample_indices

# Ten hours at 60 frames a second.
LENGTHS = st.integers(0, 10 * 3600 * 60)
FRAMES = st.integers(1, 2000)


@given(LENGTHS, FRAMES)
def test_as_many_frames_as_asked_for_spread_evenly(decodable, frames):
    chosen = sample_indices(decodable, frames)
    assert len(chosen) == min(decodable, frames)
    assert all(isinstance(index, int) for index in chosen)
    assert all(0 <= index < decodable for index in chosen)
    gaps = [later - earlier for earlier, later in pairwise(chosen)]
    assert all(gap >= 1 for gap in gaps), "ascending, each once"
    assert not gaps or max(gaps) - min(gaps) <= 1, "no stretch is looked at more closely than another"


@given(LENGTHS.filter(bool), st.integers(2, 2000))
def test_both_ends_of_a_video_are_looked_at(decodable, frames):
    chosen = sample_indices(decodable, frames)
    assert (chosen[0], chosen[-1]) == (0, decodable - 1)


@given(LENGTHS.filter(bool))
def test_a_single_frame_has_as_many_before_it_as_after(decodable):
    (chosen,) = sample_indices(decodable, 1)
    assert decodable - 1 - chosen - chosen in (0, 1)


@given(LENGTHS, FRAMES)
def test_the_same_frames_are_chosen_again(decodable, frames):
    """A resumed or verified scan looks at the frames that the first one looked at."""
    assert sample_indices(decodable, frames) == sample_indices(decodable, frames)
