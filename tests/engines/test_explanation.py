"""A record's explanations: compact, in the right place, and never NaN."""

import numpy as np
import pytest

from deepscan.engines import scorer
from deepscan.engines.explanation import check_explanation, explanations
from deepscan.engines.scorer import Scorer
from deepscan.errors import ContractError
from deepscan.models.lookup import load_card
from deepscan.scanning.record_lines import dump_line
from tests import toy


def decoded(quantity):
    """Decode the maps of a record, shape (M, G, G)."""
    low, high = quantity["range"]
    grid = quantity["grid"]
    return low + np.array(quantity["maps"]).reshape(-1, grid, grid) * (high - low) / 255


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return toy.model(tmp_path_factory.mktemp("models") / "toy", explanation=True)


@pytest.mark.parametrize(("low", "high"), [(0, 1e-3), (-3, 5), (-2, -1), (2, 4)])
def test_a_map_is_restored_to_half_a_step(low, high):
    maps = np.random.default_rng(0).uniform(low, high, (3, 2, 16)).astype(np.float32)
    stored = explanations({"maps": maps}, 3)
    for crop, explanation in zip(maps, stored, strict=True):
        quantity = explanation["maps"]
        assert all(type(step) is int and 0 <= step <= 255 for steps in quantity["maps"] for step in steps)
        assert quantity["range"][0] <= 0 <= quantity["range"][1], "the range must include 0"
        step = (quantity["range"][1] - quantity["range"][0]) / 255
        # Half a step of the quantisation, and six digits of the range.
        np.testing.assert_allclose(decoded(quantity).reshape(2, 16), crop, atol=0.51 * step, rtol=1e-5)


def test_a_map_of_zeros_stays_zero():
    (stored,) = explanations({"maps": np.zeros((1, 1, 4), np.float32)}, 1)
    assert stored == {"maps": {"grid": 2, "range": [0.0, 0.0], "maps": [[0, 0, 0, 0]]}}


def test_numbers_stay_numbers():
    stored = explanations({"depth": np.float32([3, 0.25])}, 2)
    assert stored == [{"depth": 3.0}, {"depth": 0.25}]


def test_an_explanation_that_is_not_finite_is_none_and_others_are_kept():
    maps = np.ones((2, 1, 4), np.float32)
    maps[0, 0, 1] = np.nan
    broken, sound = explanations({"maps": maps, "depth": np.float32([np.inf, 1])}, 2)
    assert broken == {"maps": None, "depth": None}
    assert sound["depth"] == 1
    dump_line(broken)


@pytest.mark.parametrize("shape", [(2, 4), (2, 1, 5), (1, 1, 4), (2, 1, 2, 2)])
def test_an_explanation_of_another_shape_is_refused(shape):
    with pytest.raises(ContractError, match="'odd' has shape"):
        check_explanation({"odd": np.zeros(shape, np.float32)}, 2)


def test_a_map_has_the_crops_orientation(model):
    crops = np.zeros((2, 64, 64, 3), np.uint8)
    crops[1, 16:32, 48:, 2] = 255  # blue in the second row and last column of patches
    scores, stored = Scorer(load_card(model), device="cpu").explain(crops)
    np.testing.assert_allclose(scores, toy.expected(crops, 0), atol=1e-6)
    assert stored[0]["mean"] == -1
    patches = decoded(stored[1]["patches"])
    assert patches.shape == (3, 4, 4)
    bright = np.full((3, 4, 4), -1.0)
    bright[2, 1, 3] = 1
    np.testing.assert_allclose(patches, bright, atol=1e-6)


def test_scores_and_explanations_are_means_over_the_views(model, monkeypatch):
    class Twice(scorer.make_preprocessor({}, load_card(model).crop, (0.5,) * 3, (0.5,) * 3).__class__):
        """Two views: the crop, and a black crop."""

        views = 2

        def __call__(self, crops, view=0):
            return super().__call__(crops * np.uint8(1 - view))

    monkeypatch.setattr(scorer, "make_preprocessor", lambda settings, *rest: Twice(*rest))
    crops = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    scores, stored = Scorer(load_card(model), device="cpu").explain(crops)
    expected = (toy.expected(crops, 0) + toy.expected(crops * 0, 0)) / 2
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    means = [((crop / 255 - 0.5) / 0.5).mean() for crop in crops]
    # Rounded to six digits.
    assert [explanation["mean"] for explanation in stored] == pytest.approx(
        [(m - 1) / 2 for m in means], abs=2e-6
    )
