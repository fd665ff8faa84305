"""Test alignment and suppression with arbitrary points and boxes."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from deepscan.faces.align import similarity
from deepscan.faces.boxes import iou, nms, to_square

# Pixels of a frame: a sixteenth of a pixel is finer than landmarks are found.
PIXELS = st.integers(-(2**16), 2**16).map(lambda value: value / 16)
POINTS = arrays(np.float64, st.tuples(st.integers(2, 8), st.just(2)), elements=PIXELS).filter(
    lambda points: np.ptp(points, axis=0).max() >= 1
)
ANGLES = st.floats(-np.pi, np.pi)
SCALES = st.floats(1 / 64, 64)
SHIFTS = st.tuples(PIXELS, PIXELS)


def transform(angle, scale, shift):
    """Return the matrix of a rotation, a scale and a shift, shape (2, 3)."""
    cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])


def apply(matrix, points):
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(POINTS, ANGLES, SCALES, SHIFTS)
def test_similarity_recovers_the_transform_that_moved_the_points(points, angle, scale, shift):
    known = transform(angle, scale, shift)
    found = similarity(points, apply(known, points))
    # Float64 carries 16 digits; points and shifts have up to five of them before the point.
    np.testing.assert_allclose(found[:, :2], known[:, :2], rtol=0, atol=1e-9 * scale)
    np.testing.assert_allclose(apply(found, points), apply(known, points), rtol=0, atol=1e-6)


@given(POINTS, st.data(), ANGLES, st.floats(0.9, 1.1), st.tuples(st.floats(-2, 2), st.floats(-2, 2)))
def test_no_other_similarity_is_nearer_to_the_targets(points, data, angle, scale, shift):
    """The least-squares solution cannot be improved by another turn, scale or shift."""
    targets = data.draw(arrays(np.float64, points.shape, elements=PIXELS))
    found = similarity(points, targets)
    assert np.linalg.det(found[:, :2]) >= 0, "a reflection"
    other = transform(angle, scale, (0, 0))[:, :2] @ found + np.column_stack([np.zeros((2, 2)), shift])
    best, changed = (float(((apply(m, points) - targets) ** 2).sum()) for m in (found, other))
    # Sums of squares of up to 4096 pixels lose digits to rounding.
    assert best <= changed * (1 + 1e-9) + 1e-3


CORNERS = st.integers(0, 200)
SIDES = st.integers(1, 80)
BOX = st.tuples(CORNERS, CORNERS, SIDES, SIDES).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
# More than the 64 rows that are worked out at once; few scores, so that some are equal.
CROWDS = st.lists(st.tuples(BOX, st.integers(0, 9)), max_size=150)
LIMITS = st.sampled_from([0.0, 0.2, 0.5, 0.7, 0.95])


def crowd(drawn):
    boxes = np.array([box for box, _ in drawn], np.float32).reshape(-1, 4)
    return boxes, np.array([score for _, score in drawn], np.float32)


@given(CROWDS, LIMITS)
def test_kept_boxes_lie_apart_and_cover_all_others(drawn, limit):
    boxes, scores = crowd(drawn)
    kept = nms(boxes, scores, limit).tolist()
    assert len(set(kept)) == len(kept)
    # Best first, and of equal scores in the order in which the boxes came.
    assert kept == sorted(kept, key=lambda index: (-scores[index], index))
    for rank, index in enumerate(kept):
        assert (iou(boxes[index], boxes[kept[:rank]]) <= limit).all()
    for index in set(range(len(boxes))) - set(kept):
        better = [k for k in kept if (-scores[k], k) < (-scores[index], index)]
        assert (iou(boxes[index], boxes[better]) > limit).any(), "removed, and no better box covers it"


@given(CROWDS, LIMITS)
def test_suppression_is_done_after_one_pass(drawn, limit):
    boxes, scores = crowd(drawn)
    kept = nms(boxes, scores, limit)
    assert nms(boxes[kept], scores[kept], limit).tolist() == list(range(len(kept)))


@given(CROWDS)
def test_overlap_is_symmetric_and_a_share(drawn):
    boxes, _ = crowd(drawn)
    table = np.array([iou(box, boxes) for box in boxes]).reshape(len(boxes), len(boxes))
    np.testing.assert_array_equal(table, table.T)
    assert ((table >= 0) & (table <= 1)).all()
    assert (np.diagonal(table) == 1).all()


@given(CROWDS)
def test_a_square_has_the_box_s_centre_and_contains_it(drawn):
    boxes, _ = crowd(drawn)
    squares = to_square(boxes)
    sides = squares[:, 2:] - squares[:, :2]
    np.testing.assert_array_equal(sides[:, 0], sides[:, 1])
    np.testing.assert_array_equal(squares[:, :2] + squares[:, 2:], boxes[:, :2] + boxes[:, 2:])
    assert (squares[:, :2] <= boxes[:, :2]).all() and (squares[:, 2:] >= boxes[:, 2:]).all()
