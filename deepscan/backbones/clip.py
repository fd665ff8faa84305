"""CLIP's backbones (Radford et al., 2021), as open_clip lays out their weights."""

from pathlib import Path

import torch
from torch import Tensor

from deepscan.backbones import BACKBONES
from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import VisionTransformer, patch_transformer
from deepscan.backbones.weight_rules import Rule
from deepscan.errors import ContractError

_BLOCK = r"transformer\.resblocks\.(\d+)\."
#: open_clip's names, of its vision backbone -> ours.
RULES = (
    Rule(r"class_embedding", "cls"),
    Rule(r"positional_embedding", "position"),
    Rule(r"conv1\.weight", "stem.weight"),
    Rule(r"(ln_pre|ln_post)\.(weight|bias)", r"\1.\2"),
    Rule(_BLOCK + r"(ln_[12])\.(weight|bias)", r"blocks.\1.\2.\3"),
    Rule(_BLOCK + r"attn\.in_proj_(weight|bias)", *(rf"blocks.\1.attention.{name}.\2" for name in "qkv")),
    Rule(_BLOCK + r"attn\.out_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_BLOCK + r"mlp\.c_fc\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_BLOCK + r"mlp\.c_proj\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
    Rule(r"proj", "projection.weight", transposed=True, optional=True),
)


def clip_transformer(
    *, patch: int, side: int, width: int, depth: int, heads: int, hidden: int, projection: int
) -> VisionTransformer:
    """Return a backbone of CLIP: norms before and after the blocks, QuickGELU, a projected CLS token."""
    return patch_transformer(
        patch=patch,
        patch_bias=False,
        side=side,
        width=width,
        depth=depth,
        heads=heads,
        hidden=hidden,
        projection=projection,
        activation="quick-gelu",
        pre_norm=True,
    )


@BACKBONES.register("clip-vit-l14")
def clip_vit_l14(
    *,
    side: int = 224,
    width: int = 1024,
    depth: int = 24,
    heads: int = 16,
    hidden: int = 4096,
    projection: int = 768,
) -> VisionTransformer:
    """Return ViT-L/14 of CLIP: 256 patches, 303.18 M parameters, 303.97 M with the projection."""
    return clip_transformer(
        patch=14, side=side, width=width, depth=depth, heads=heads, hidden=hidden, projection=projection
    )


@BACKBONES.register("clip-vit-b16")
def clip_vit_b16(
    *,
    side: int = 224,
    width: int = 768,
    depth: int = 12,
    heads: int = 12,
    hidden: int = 3072,
    projection: int = 512,
) -> VisionTransformer:
    """Return ViT-B/16 of CLIP: 196 patches."""
    return clip_transformer(
        patch=16, side=side, width=width, depth=depth, heads=heads, hidden=hidden, projection=projection
    )


def read(path: Path, model: str, backbone: Backbone) -> dict[str, Tensor]:
    """Return the vision backbone's weights in a file that open_clip takes, by open_clip's names.

    Args:
        path: The file, of the whole of CLIP.
        model: open_clip's name of the model.
        backbone: The backbone to fill; positions of another grid are resized to its own, as open_clip does.

    Raises:
        ContractError: open_clip's model of that name has another activation than the weights.
    """
    import open_clip
    from open_clip.factory import load_state_dict
    from open_clip.model import resize_pos_embed
    from open_clip.transformer import QuickGELU

    config = open_clip.get_model_config(model)
    config["vision_cfg"] |= {"image_size": backbone.side, "layers": 1}
    config["text_cfg"]["layers"] = 1
    # One block shows the activation, and the size its grid; neither needs values.
    with torch.device("meta"):
        reference = open_clip.CLIP(**config)
    if not all(isinstance(block.mlp.gelu, QuickGELU) for block in reference.visual.transformer.resblocks):
        raise ContractError(
            f"open_clip builds {model} without QuickGELU, which its weights were trained with",
            "install a version of open_clip_torch that this release names",
        )
    state = load_state_dict(str(path), weights_only=True)
    resize_pos_embed(state, reference)
    return {
        name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")
    }
