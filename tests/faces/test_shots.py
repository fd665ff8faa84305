"""Test that a cut is found where the scene changes and nowhere else."""

import cv2
import numpy as np
import pytest

from deepscan.faces.shots import SIDE, ShotSpan, cut_odds, find_shots, shot_of, thumbnail


def scene(seed, colour):
    """Return a wide picture of soft shapes in one range of colours, 400 x 300 pixels."""
    rng = np.random.default_rng(seed)
    shapes = cv2.resize(
        rng.uniform(0, 1, (9, 12)).astype(np.float32), (400, 300), interpolation=cv2.INTER_CUBIC
    )
    return np.clip(shapes[..., None] * np.asarray(colour, np.float32), 0, 255).astype(np.uint8)


ROOM, FIELD = scene(1, (220, 180, 150)), scene(2, (90, 190, 60))


def shots_of(*images):
    sampled = [(10 * k, k * 0.4) for k in range(len(images))]
    return find_shots(sampled, [thumbnail(image) for image in images])


def test_each_scene_is_a_shot_with_its_first_and_last_frame():
    assert [shot.to_json() for shot in shots_of(ROOM, ROOM, FIELD, FIELD, FIELD, ROOM)] == [
        {"id": 0, "first": 0, "last": 10, "start": 0.0, "end": 0.4},
        {"id": 1, "first": 20, "last": 40, "start": 0.8, "end": 1.6},
        {"id": 2, "first": 50, "last": 50, "start": 2.0, "end": 2.0},
    ]


@pytest.mark.parametrize(
    "changed",
    [
        np.roll(ROOM, 30, axis=1),
        np.clip(ROOM.astype(np.int16) + 25, 0, 255).astype(np.uint8),
        cv2.GaussianBlur(ROOM, (0, 0), 6),
        cv2.resize(ROOM, (1600, 1200)),
    ],
    ids=["moved", "brighter", "out of focus", "larger"],
)
def test_movement_and_changes_of_light_are_not_cuts(changed):
    assert len(shots_of(ROOM, changed, ROOM)) == 1


def test_skipping_the_search_for_similar_pairs_changes_no_result():
    rng = np.random.default_rng(0)
    scenes = [scene(seed, rng.uniform(60, 255, 3)) for seed in range(8)]
    smalls = []
    for turn in range(60):
        mixed = rng.uniform(0, 0.9) * scenes[turn // 3 % 8] + 0.1 * scenes[int(rng.integers(8))]
        smalls.append(thumbnail(np.roll(mixed.astype(np.uint8), rng.integers(-60, 60, 2), (0, 1))))
    expected = [k for k in range(1, 60) if cut_odds(smalls[k - 1], smalls[k]) > 0]
    assert [shot.first for shot in find_shots([(k, k) for k in range(60)], smalls)][1:] == expected
    assert 10 < len(expected) < 50


def test_frames_of_a_single_colour_are_one_shot():
    black = np.zeros((120, 160, 3), np.uint8)
    assert len(shots_of(black, black)) == 1
    assert len(shots_of(black, ROOM)) == 2


def test_frames_in_any_order_give_the_same_shots():
    sampled = [(20, 0.8), (0, 0.0), (10, 0.4)]
    shots = find_shots(sampled, [thumbnail(image) for image in (FIELD, ROOM, ROOM)])
    assert [(shot.first, shot.last) for shot in shots] == [(0, 10), (20, 20)]
    assert [shot_of(shots, index) for index in (0, 10, 20)] == [0, 0, 1]
    assert find_shots([], []) == []


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 900, 3), (2160, 3840, 3)])
def test_a_frame_of_any_size_has_a_thumbnail(shape):
    small = thumbnail(np.full(shape, 90, np.uint8))
    assert (small.shape, small.dtype) == ((SIDE, SIDE, 3), np.uint8)
    assert small.std(axis=(0, 1)) == pytest.approx(0)


def test_a_shot_does_not_end_before_it_begins():
    with pytest.raises(ValueError, match="must not end before it begins"):
        ShotSpan(0, 10, 5, 0.0, 1.0)
