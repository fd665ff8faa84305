"""Build the transformers that have published weights, from the table in `published`."""

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
        name: Key of `PUBLISHED`, whose entry sets the remaining arguments.
        side: Side S of the crops in pixels, a multiple of the patch's side.
        width: Width of the tokens.
        depth: Number of blocks.
        heads: Attention heads.
        hidden: Width inside the blocks' MLP.
        biases: Letters of those of q, k and v that have a bias.
        projection: Width of the CLS token's projection, 0 for none.

    Raises:
        ValueError: The side is not such a multiple, or an argument is out of range.
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


for _name, _entry in PUBLISHED.items():
    if _entry.transformer:
        BACKBONES.register(_name)(partial(published_transformer, _name, **_entry.sizes))
