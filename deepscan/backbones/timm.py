"""Weights of transformers in timm's layout."""

import contextlib
import importlib
import io
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import Block, VisionTransformer, as_transformer
from deepscan.backbones.weight_rules import Rule

_BLOCK = r"blocks\.(\d+)\."
#: timm's names, in its classes VisionTransformer, Eva and Beit -> ours.
RULES = (
    Rule(r"cls_token", "cls"),
    Rule(r"reg_token", "registers"),
    Rule(r"pos_embed", "position"),
    Rule(r"patch_embed\.proj\.(weight|bias)", r"stem.\1"),
    Rule(r"norm_pre\.(weight|bias)", r"ln_pre.\1"),
    # BEiT's norm comes after the mean of the patches and is called fc_norm.
    Rule(r"(?:fc_)?norm\.(weight|bias)", r"ln_post.\1"),
    Rule(_BLOCK + r"norm([12])\.(weight|bias)", r"blocks.\1.ln_\2.\3"),
    Rule(_BLOCK + r"attn\.qkv\.(weight|bias)", *(rf"blocks.\1.attention.{name}.\2" for name in "qkv")),
    Rule(_BLOCK + r"attn\.([qv])_bias", r"blocks.\1.attention.\2.bias"),
    Rule(_BLOCK + r"attn\.relative_position_bias_table", r"blocks.\1.relative.table"),
    Rule(_BLOCK + r"attn\.proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_BLOCK + r"(?:gamma_([12])|ls([12])\.gamma)", r"blocks.\1.scale_\2\3"),
    Rule(_BLOCK + r"mlp\.fc1\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_BLOCK + r"mlp\.fc2\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
    Rule(r"attn_pool\.latent", "pool.latent"),
    Rule(r"attn_pool\.q\.(weight|bias)", r"pool.attention.q.\1"),
    Rule(r"attn_pool\.kv\.(weight|bias)", r"pool.attention.k.\1", r"pool.attention.v.\1"),
    Rule(r"attn_pool\.proj\.(weight|bias)", r"pool.attention.out.\1"),
    Rule(r"attn_pool\.norm\.(weight|bias)", r"pool.norm.\1"),
    Rule(r"attn_pool\.mlp\.fc1\.(weight|bias)", r"pool.mlp.0.\1"),
    Rule(r"attn_pool\.mlp\.fc2\.(weight|bias)", r"pool.mlp.2.\1"),
    # Only used in pretraining: ImageNet's classifier and the mask token.
    Rule(r"head\.(weight|bias)|mask_token"),
)


def reference(model: str, backbone: VisionTransformer) -> nn.Module:
    """Build timm's own model in a backbone's size, without its head, on the current device."""
    import timm

    block, stem = cast(Block, backbone.blocks[0]), cast(nn.Conv2d, backbone.stem)
    hidden = cast(nn.Linear, block.mlp[0]).out_features
    built: nn.Module = timm.create_model(
        model,
        pretrained=False,
        num_classes=0,
        img_size=backbone.side,
        patch_size=stem.kernel_size[0],
        embed_dim=backbone.width,
        depth=len(backbone.blocks),
        num_heads=block.attention.heads,
        mlp_ratio=hidden / backbone.width,
    )
    return built


def read(path: Path, model: str, backbone: Backbone) -> dict[str, Tensor]:
    """Read the weights from a file that timm can load, by timm's names.

    Args:
        path: The file, in timm's layout or in one that timm converts.
        model: timm's name of the model.
        backbone: The backbone to fill; positions are resized to its grid, as timm does.
    """
    from timm.models import load_state_dict

    with torch.device("meta"):
        timms = reference(model, as_transformer(backbone, model))
    convert = importlib.import_module(type(timms).__module__).checkpoint_filter_fn
    # It prints which keys of Meta's layout it drops, and stdout is for data only.
    with contextlib.redirect_stdout(io.StringIO()):
        weights: dict[str, Tensor] = convert(load_state_dict(str(path), weights_only=True), timms)
    return weights
