"""Builds the transformers with published weights, each from its row of the table."""

from functools import partial

from torch import nn

from deepscan.backbones import BACKBONES
from deepscan.backbones.attention import Rotary
from deepscan.backbones.published import PUBLISHED
from deepscan.backbones.vit import AttentionPool, VisionTransformer


def published_transformer(
    name: str,
    /,
    *,
    side: int,
    width: int,
    depth: int,
    heads: int,
    hidden: int,
    biases: str = "qkv",
    projection: int = 0,
) -> VisionTransformer:
    """Return a backbone whose stem is one linear map of each patch.

    Args:
        name: Its row of `PUBLISHED` says what is not stated here.
        side: Side S in pixels of the crops that it takes, a multiple of the patch's.
        width: As `VisionTransformer` takes it, and so are the others.
        depth: Blocks.
        heads: Attention heads.
        hidden: Width inside the blocks' MLP.
        biases: Which of q, k and v have a bias.
        projection: Width of the CLS token's projection, 0 for none.

    Raises:
        ValueError: The sides do not divide, or an argument is out of range.
    """
    fixed = dict(PUBLISHED[name].fixed)
    patch, patch_bias = fixed.pop("patch"), fixed.pop("patch_bias", True)
    if side % patch or side <= 0:
        raise ValueError(f"the side of a crop must be a multiple of {patch}, not {side}")
    if "rotary" in fixed:
        fixed["rotary"] = Rotary(**fixed["rotary"])
    if pool_heads := fixed.pop("pool_heads", 0):
        fixed["pool"] = AttentionPool(width, pool_heads, 4 * width, activation="gelu", eps=1e-5)
    return VisionTransformer(
        nn.Conv2d(3, width, patch, stride=patch, bias=patch_bias),
        side=side,
        grid=side // patch,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        biases=biases,
        projection=projection,
        **fixed,
    )


for _name, _found in PUBLISHED.items():
    if _found.transformer:
        BACKBONES.register(_name)(partial(published_transformer, _name, **_found.sizes))
