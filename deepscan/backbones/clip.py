"""The weights of CLIP's backbones, as open_clip lays them out."""

from pathlib import Path

import torch
from torch import Tensor

from deepscan.backbones.backbone import Backbone
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
