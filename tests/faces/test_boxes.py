"""Test box arithmetic, and suppression against a quadratic loop."""

import numpy as np
import pytest

from deepscan.faces.boxes import apply_deltas, iou, nms, to_square


def boxes(*rows):
    return np.array(rows, np.float32)


def test_iou_of_known_boxes():
    one = boxes([0, 0, 10, 10])[0]
    others = boxes([0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [0, 0, 5, 5], [30, 30, 31, 31])
    np.testing.assert_allclose(iou(one, others), [1, 50 / 150, 0, 0.25, 0], rtol=1e-6)


def test_iou_with_an_empty_box_is_zero():
    assert iou(boxes([3, 3, 3, 3])[0], boxes([3, 3, 3, 3])).tolist() == [0]


def ratio(a, b, overlap, rim):
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]) + rim)
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]) + rim)
    own, theirs = ((c[2] - c[0] + rim) * (c[3] - c[1] + rim) for c in (a, b))
    shared = width * height
    return shared / (own + theirs - shared if overlap == "iou" else min(own, theirs))


@pytest.mark.parametrize(("overlap", "rim"), [("iou", 0), ("iom", 1)])
@pytest.mark.parametrize("limit", [0.3, 0.7])
def test_suppression_equals_the_quadratic_loop(overlap, rim, limit):
    rng = np.random.default_rng(7)
    corner = rng.integers(0, 60, (120, 2))
    crowd = np.concatenate([corner, corner + rng.integers(8, 40, (120, 2))], axis=1).astype(np.float32)
    scores = rng.permutation(120).astype(np.float32)
    expected: list[int] = []
    for k in np.argsort(-scores):
        if all(ratio(crowd[j], crowd[k], overlap, rim) <= limit for j in expected):
            expected.append(int(k))
    assert nms(crowd, scores, limit, overlap, rim).tolist() == expected


def test_of_equal_scores_the_first_wins():
    same = boxes([0, 0, 10, 10], [0, 0, 10, 10])
    assert nms(same, np.ones(2, np.float32), 0.5).tolist() == [0]


def test_only_iom_removes_a_box_within_another():
    nested = boxes([0, 0, 100, 100], [10, 10, 30, 30])
    scores = np.array([0.9, 0.8], np.float32)
    assert nms(nested, scores, 0.7).tolist() == [0, 1]
    assert nms(nested, scores, 0.7, overlap="iom").tolist() == [0]


def test_nothing_to_suppress():
    assert nms(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), 0.5).shape == (0,)


def test_deltas_move_edges_by_fractions_of_the_size():
    moved = apply_deltas(boxes([10, 20, 30, 60]), boxes([0.1, -0.5, 0, 1]), rim=0)
    np.testing.assert_allclose(moved, [[12, 0, 30, 100]])
    np.testing.assert_allclose(
        apply_deltas(boxes([0, 0, 9, 9]), boxes([0.1, 0, 0, 0]), rim=1), [[1, 0, 9, 9]]
    )


def test_a_square_keeps_the_centre_and_the_longer_side():
    np.testing.assert_allclose(
        to_square(boxes([0, 0, 10, 30], [5, 5, 25, 15])), [[-10, 0, 20, 30], [5, 0, 25, 20]]
    )
