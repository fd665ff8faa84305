"""Weights of CLIP's backbones in open_clip's layout."""

from pathlib import Path

import torch
from torch import Tensor

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.weight_rules import Rule
from deepscan.errors import ContractError

_BLOCK = r"transformer\.resblocks\.(\d+)\."
#: open_clip's names of its vision weights -> ours.
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


def read(path: Path, model: str, backbone: Backbone) -> dict[str, Tensor]:
    """Read the vision weights from a file that open_clip can load.

    Args:
        path: The file, with all of CLIP.
        model: open_clip's name of the model.
        backbone: The backbone to fill; positions are resized to its grid, as open_clip does.

    Returns:
        The weights by open_clip's names.

    Raises:
        ContractError: open_clip builds the model with another activation than the weights were trained with.
    """
    import open_clip
    from open_clip.factory import load_state_dict
    from open_clip.model import resize_pos_embed
    from open_clip.transformer import QuickGELU

    config = open_clip.get_model_config(model)
    config["vision_cfg"] |= {"image_size": backbone.side, "layers": 1}
    config["text_cfg"]["layers"] = 1
    # One block is enough to see the activation and the grid, and needs no values.
    with torch.device("meta"):
        reference = open_clip.CLIP(**config)
    if not all(isinstance(block.mlp.gelu, QuickGELU) for block in reference.visual.transformer.resblocks):
        raise ContractError(
            f"open_clip builds {model} without QuickGELU, but its weights were trained with it",
            "install a version of open_clip_torch that this release supports",
        )
    state = load_state_dict(str(path), weights_only=True)
    resize_pos_embed(state, reference)
    return {
        name.removeprefix("visual."): value for name, value in state.items() if name.startswith("visual.")
    }
