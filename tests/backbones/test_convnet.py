"""A convolutional backbone: its tokens, and which methods accept it."""

import pytest
import torch

from deepscan.backbones import STEPWISE, TRANSFORMERS
from deepscan.backbones.tuning import tune
from deepscan.backbones.weights import build_backbone
from deepscan.detectors import DETECTORS
from deepscan.errors import UsageError
from tests.backbones.tiny import without_gradient

TINY = {"name": "convnet", "side": 32, "channels": [4, 8, 16], "pairs": [0, 1, 1]}


@pytest.fixture
def backbone():
    torch.manual_seed(0)
    return build_backbone(TINY).eval()


def test_the_cls_token_is_the_mean_of_the_patches(backbone):
    tokens = backbone(torch.randn(2, 3, 32, 32))
    assert tokens.patches.shape == (2, 16, 16)
    assert torch.equal(tokens.cls, tokens.patches.mean(dim=1))
    assert torch.equal(tokens.attention, torch.full((2, 16), 1 / 16))


def test_a_patch_depends_on_its_part_of_the_crop(backbone):
    crops = torch.zeros(1, 3, 32, 32)
    before = backbone(crops).patches
    crops[..., :4, -4:] = 1
    change = (backbone(crops).patches - before).abs().sum(dim=-1)[0]
    # Three strides and two residual blocks see 37 pixels: the opposite corner is out of reach.
    assert int(change.argmax()) == 3
    assert change[12] == 0


def test_every_parameter_gets_a_gradient(backbone):
    network = DETECTORS.get("fft")().build({"backbone": TINY}).train()
    network(torch.randn(4, 3, 32, 32)).logits[:, 1].sum().backward()
    assert not without_gradient(network)


def test_the_score_is_the_mean_of_the_patches_margins(backbone):
    network = DETECTORS.get("fft")().build({"backbone": TINY}).eval()
    output = network(torch.randn(3, 3, 32, 32))
    margins = output.explanation["margins"]
    assert margins.shape == (3, 1, 16)
    assert margins.std(dim=2).min() > 0
    margin = output.logits[:, 1] - output.logits[:, 0]
    # Summed in a different order, in float32.
    torch.testing.assert_close(margins.mean(dim=(1, 2)), margin, atol=1e-5, rtol=0)
    deeper = DETECTORS.get("fft")().build({"backbone": TINY, "layers": 2}).eval()
    assert set(deeper(torch.randn(1, 3, 32, 32)).explanation) == {"attention"}, (
        "the score of a perceptron is not such a mean"
    )


@pytest.mark.parametrize("method", ["corit", "dfd-hr"])
@pytest.mark.parametrize("backbone", [TINY, {"name": "efficientnet-lite0", "side": 32}], ids=str)
def test_methods_that_add_tokens_refuse_it_and_name_other_backbones(method, backbone):
    with pytest.raises(UsageError, match="needs transformer blocks") as raised:
        DETECTORS.get(method)().build({"backbone": backbone, "tuning": {"type": "frozen"}})
    assert all(name in raised.value.hint for name in STEPWISE)


@pytest.mark.parametrize("kind", ["effort", "partial", "lora", "ia3"])
def test_tunings_of_blocks_refuse_it_and_name_other_backbones(backbone, kind):
    with pytest.raises(UsageError, match="needs transformer blocks") as raised:
        tune(backbone, {"type": kind})
    assert all(name in raised.value.hint for name in TRANSFORMERS)


def test_it_has_one_layer(backbone):
    crops = torch.randn(2, 3, 32, 32)
    assert torch.equal(backbone.layers(crops), backbone(crops).cls[:, None])


@pytest.mark.parametrize("wrong", [{"side": 36}, {"pairs": [1]}, {"channels": []}], ids=str)
def test_bad_arguments_are_refused(wrong):
    with pytest.raises(UsageError, match="convnet"):
        build_backbone({**TINY, **wrong})
