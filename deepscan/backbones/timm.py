"""Backbones whose weights timm publishes: SigLIP 2, PE Core, DINOv2, DINOv3, BEiT v2, supervised ImageNet."""

import contextlib
import importlib
import io
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.attention import Rotary
from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import AttentionPool, Block, VisionTransformer, as_transformer, patch_transformer
from deepscan.backbones.weight_rules import Rule

_BLOCK = r"blocks\.(\d+)\."
#: timm's names, in its classes VisionTransformer, Eva and Beit -> ours.
RULES = (
    Rule(r"cls_token", "cls"),
    Rule(r"reg_token", "registers"),
    Rule(r"pos_embed", "position"),
    Rule(r"patch_embed\.proj\.(weight|bias)", r"stem.\1"),
    Rule(r"norm_pre\.(weight|bias)", r"ln_pre.\1"),
    # BEiT's norm comes after the mean of the patches, and is named so.
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
    # What the weights were trained with: the classes of ImageNet, and what stood for a hidden patch.
    Rule(r"head\.(weight|bias)|mask_token"),
)


@BACKBONES.register("siglip2-vit-l16")
def siglip2_vit_l16(
    *, side: int = 256, width: int = 1024, depth: int = 24, heads: int = 16, hidden: int = 4096
) -> VisionTransformer:
    """Return ViT-L/16 of SigLIP 2 (Tschannen et al., 2025): 256 patches, no CLS token, a map pool."""
    return patch_transformer(
        patch=16, side=side, width=width, depth=depth, heads=heads, hidden=hidden, prefix=0, eps=1e-6
    )


#: Of PE: 24 places along an axis on any grid, counted from 1, and pairs of neighbours.
_PE_ROTARY = Rotary(base=10_000.0, reach=24.0, shift=1.0, origin=0.0, columns_first=True, interleaved=True)


@BACKBONES.register("pe-core-vit-l14")
def pe_core_vit_l14(
    *, side: int = 224, width: int = 1024, depth: int = 24, heads: int = 16, hidden: int = 4096
) -> VisionTransformer:
    """Return ViT-L/14 of PE Core (Bolya et al., 2025): 256 patches, learnt and rotary positions, a map pool.

    The pool takes the CLS token among the others. It has 8 heads and an MLP of four times the width in every
    size of PE Core.
    """
    return patch_transformer(
        patch=14,
        patch_bias=False,
        side=side,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        pre_norm=True,
        rotary=_PE_ROTARY,
        pool=AttentionPool(width, 8, 4 * width, activation="gelu", eps=1e-5),
    )


@BACKBONES.register("dinov2-vit-l14")
def dinov2_vit_l14(
    *, side: int = 224, width: int = 1024, depth: int = 24, heads: int = 16, hidden: int = 4096
) -> VisionTransformer:
    """Return ViT-L/14 of DINOv2 (Oquab et al., 2023), without registers: 256 patches."""
    return patch_transformer(
        patch=14, side=side, width=width, depth=depth, heads=heads, hidden=hidden, eps=1e-6, layer_scale=True
    )


@BACKBONES.register("dinov3-vit-l16")
def dinov3_vit_l16(
    *,
    side: int = 224,
    width: int = 1024,
    depth: int = 24,
    heads: int = 16,
    hidden: int = 4096,
    biases: str = "",
) -> VisionTransformer:
    """Return ViT-L/16 of DINOv3 (Siméoni et al., 2025): 196 patches, 4 registers, rotary positions.

    Its attention was built with biases of queries and values, which timm's weights leave out: state
    `biases: qv` for weights that have them.
    """
    return patch_transformer(
        patch=16,
        side=side,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        prefix=5,
        biases=biases,
        positions=False,
        rotary=Rotary(),
        layer_scale=True,
    )


@BACKBONES.register("beitv2-vit-l16")
def beitv2_vit_l16(
    *, side: int = 224, width: int = 1024, depth: int = 24, heads: int = 16, hidden: int = 4096
) -> VisionTransformer:
    """Return ViT-L/16 of BEiT v2 (Peng et al., 2022): 196 patches, a relative position bias in each block.

    Its weights bring one norm, which was trained on the mean of the patches. Here it norms each token, as
    every other backbone's last norm does: the mean of the normed patches is not quite what was classified.
    """
    return patch_transformer(
        patch=16,
        side=side,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        eps=1e-6,
        biases="qv",
        positions=False,
        relative=True,
        layer_scale=True,
    )


@BACKBONES.register("imagenet-vit-l16")
def imagenet_vit_l16(
    *, side: int = 224, width: int = 1024, depth: int = 24, heads: int = 16, hidden: int = 4096
) -> VisionTransformer:
    """Return ViT-L/16 trained on ImageNet's classes (Steiner et al., 2021): 196 patches."""
    return patch_transformer(
        patch=16, side=side, width=width, depth=depth, heads=heads, hidden=hidden, eps=1e-6
    )


def reference(model: str, backbone: VisionTransformer) -> nn.Module:
    """Return timm's own model, without its head, of a backbone's size, on the current device."""
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
    """Return the weights in a file that timm takes, by timm's names.

    Args:
        path: The file, of timm's own layout or of another that timm turns into it.
        model: timm's name of the model.
        backbone: The backbone to fill; positions of another grid are resized to its own, as timm does.
    """
    from timm.models import load_state_dict

    with torch.device("meta"):
        like = reference(model, as_transformer(backbone, model))
    turn = importlib.import_module(type(like).__module__).checkpoint_filter_fn
    # On what it drops from Meta's own layout it prints to stdout, which carries data alone.
    with contextlib.redirect_stdout(io.StringIO()):
        weights: dict[str, Tensor] = turn(load_state_dict(str(path), weights_only=True), like)
    return weights
