"""CoRIT's masks: projections onto anchors, and what thresholds keep."""

import pytest
import torch

from deepscan.detectors.corit_masks import Refinement, pooled, projected
from tests.detectors.tiny import REGIONS

THRESHOLDS = ("relative", "deviation", "cosine")


def test_projections_average_to_the_length_of_the_mean_contrast():
    contrast = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    regions = REGIONS.repeat(2, 1, 1)
    projections, length = projected(contrast, regions)
    means = (projections * regions).sum(dim=2) / regions.sum(dim=2)
    # float32 sums of 16 products.
    torch.testing.assert_close(means, length, atol=1e-6, rtol=1e-5)
    for region in range(3):
        inside = contrast[0, REGIONS[0, region] > 0]
        assert float(inside.mean(dim=0).norm()) == pytest.approx(float(length[0, region]), rel=1e-5)


def test_anchors_have_unit_length():
    # The projection of a region's only token onto its anchor is the token's length.
    contrast = torch.randn(1, 16, 8, generator=torch.Generator().manual_seed(0)) * 7
    projections, _ = projected(contrast, torch.eye(16)[None])
    torch.testing.assert_close(projections[0].diagonal(), contrast[0].norm(dim=1))


@pytest.mark.parametrize("threshold", THRESHOLDS)
@pytest.mark.parametrize("tau", [-1.0, 0.0, 0.1, 0.9, 1.3])
def test_masks_lie_within_their_regions(threshold, tau):
    contrast = torch.randn(5, 16, 8, generator=torch.Generator().manual_seed(0))
    regions = REGIONS.repeat(5, 1, 1)
    masks, _ = Refinement(threshold, tau)(contrast, regions)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    assert (masks <= regions).all()


def test_masks_of_a_hand_made_contrast():
    # One region of four tokens; the mean contrast is (2, 0), the anchor (1, 0), the projections 4, 3, 1, 0.
    contrast = torch.tensor([[[4.0, 3.0], [3.0, -3.0], [1.0, 5.0], [0.0, -5.0]]])
    region = torch.ones(1, 1, 4)
    expected = {
        ("relative", 0.0): [1, 1, 1, 0],
        ("relative", 0.4): [1, 1, 1, 0],  # above 0.8
        ("relative", 0.6): [1, 1, 0, 0],  # above 1.2
        ("relative", 1.6): [1, 0, 0, 0],  # above 3.2
        ("relative", 2.1): [0, 0, 0, 0],
        ("deviation", 0.0): [1, 1, 0, 0],  # above the mean
        ("deviation", 0.7): [1, 0, 0, 0],  # above 2 + 0.7 * sqrt(2.5) = 3.1
        ("deviation", -0.7): [1, 1, 1, 0],  # above 0.89
        ("cosine", 0.1): [1, 1, 1, 0],  # cosines 0.8, 0.71, 0.196, 0
        ("cosine", 0.2): [1, 1, 0, 0],
        ("cosine", 0.75): [1, 0, 0, 0],
    }
    for (threshold, tau), kept in expected.items():
        masks, projections = Refinement(threshold, tau)(contrast, region)
        assert masks[0, 0].tolist() == kept, (threshold, tau)
        assert projections[0, 0].tolist() == [4, 3, 1, 0]


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_masks_do_not_depend_on_the_strength_of_the_blending(threshold):
    contrast = torch.randn(2, 16, 8, generator=torch.Generator().manual_seed(0))
    weak, strong = (
        Refinement(threshold)(contrast * gain, REGIONS.repeat(2, 1, 1))[0] for gain in (1e-3, 1e3)
    )
    assert torch.equal(weak, strong)


def test_pooling_of_hand_made_tokens():
    tokens = torch.tensor([[[1.0, -4.0], [3.0, -2.0], [100.0, 100.0]]])
    masks = torch.tensor([[[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])
    # The paper adds 1e-6 to the denominator.
    torch.testing.assert_close(pooled(tokens, masks), torch.tensor([[[2.0, -3.0], [0.0, 0.0]]]))
    assert pooled(tokens, masks, "max").tolist() == [[[3.0, -2.0], [0.0, 0.0]]]
