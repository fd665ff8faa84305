"""The compact backbone: shapes, attention and cost."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from deepscan.backbones import BACKBONES
from deepscan.backbones.backbone import Tokens
from deepscan.backbones.compact import HighPass
from deepscan.detectors import DETECTORS
from deepscan.training.recipe import load_recipe
from tests.backbones.tiny import COMPACT, count

TINY = {key: value for key, value in COMPACT.items() if key != "name"}


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return BACKBONES.get("compact")(**TINY).eval()


def test_tokens_have_the_documented_shapes(backbone):
    tokens = backbone(torch.randn(3, 3, 32, 32))
    assert (backbone.side, backbone.grid, backbone.width) == (32, 2, 32)
    assert tokens.cls.shape == (3, 32)
    assert tokens.patches.shape == (3, 4, 32)
    assert tokens.attention.shape == (3, 4)


def test_a_crop_does_not_depend_on_the_rest_of_its_batch_in_evaluation(backbone):
    crops = torch.randn(4, 3, 32, 32)
    alone = torch.cat([backbone(crop[None]).cls for crop in crops])
    # Batched and single matrix products sum in a different order: a few units in the last place of float32.
    torch.testing.assert_close(backbone(crops).cls, alone, atol=1e-5, rtol=1e-5)


def test_patches_are_in_reading_order():
    backbone = BACKBONES.get("compact")(**{**TINY, "side": 64, "depth": 1}).eval()
    crops = torch.zeros(2, 3, 64, 64)
    crops[1, :, 40:56, 8:24] = 3.0
    patches = backbone.stem(crops).flatten(2).transpose(1, 2)
    changed = (patches[1] - patches[0]).norm(dim=1).reshape(4, 4)
    assert divmod(int(changed.argmax()), 4) in {(2, 0), (2, 1), (3, 0), (3, 1)}
    assert changed[0, 3] < changed.max() / 100


@pytest.mark.parametrize("name", ["convnet", "qtfp-compact"])
def test_cpu_networks_stay_within_their_budget(name):
    recipe = load_recipe(None, name)
    network = DETECTORS.get(recipe.method)(**recipe.loss).build(recipe.network).eval()
    assert count(network) <= 8_000_000
    side = recipe.crop.input_side
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, side, side))
    # The counter counts a multiply-add as two operations.
    assert 0.1e9 < counter.get_total_flops() <= 0.7e9


def test_the_high_pass_responds_to_edges_only():
    crops = torch.zeros(1, 3, 8, 8)
    crops[0, 0, :, 4:] = 0.3
    both = HighPass(gain=10)(crops + torch.tensor([0.5, -1.0, 2.0])[None, :, None, None])
    assert both.shape == (1, 6, 8, 8)
    # Next to the step the 3x3 mean is off by a third of its height: 0.3 / 3 * 10, on either side.
    row = both[0, 3, 4]
    torch.testing.assert_close(row, torch.tensor([0.0, 0, 0, -1, 1, 0, 0, 0]), atol=1e-5, rtol=0)
    # The other channels are flat, including the border.
    torch.testing.assert_close(both[0, 4:], torch.zeros(2, 8, 8), atol=1e-5, rtol=0)
    assert HighPass(gain=1000)(crops)[0, 3].max() == 3


def test_a_backbone_with_a_high_pass_takes_the_same_crops():
    backbone = BACKBONES.get("compact")(**TINY, high_pass=8.0)
    assert backbone(torch.randn(2, 3, 32, 32)).patches.shape == (2, 4, 32)


@pytest.mark.parametrize("wrong", [{"side": 40}, {"heads": 3}, {"channels": (4, 8)}])
def test_sizes_that_do_not_divide_are_refused(wrong):
    with pytest.raises(ValueError, match=r"multiple of 16|divide|three"):
        BACKBONES.get("compact")(**{**TINY, **wrong})


def test_tokens_check_their_shapes():
    with pytest.raises(ValueError, match="do not match"):
        Tokens(torch.zeros(2, 8), torch.zeros(2, 4, 6), torch.zeros(2, 4))
    with pytest.raises(ValueError, match="tokens are"):
        Tokens(torch.zeros(2, 8), torch.zeros(2, 4), torch.zeros(2, 4))
