"""How the transformers library names the weights of its towers: rules for files that are saved from it."""

from deepscan.backbones.layout import Rule

_LAYER = r"encoder\.layers\.(\d+)\."
#: Names in its `CLIPVisionModel`, below `vision_model`, -> ours. Inside a layer they are stored as k, v, q,
#: out: what counts is the name, never the place.
CLIP_RULES = (
    Rule(r"embeddings\.class_embedding", "cls"),
    Rule(r"embeddings\.position_embedding\.weight", "position"),
    Rule(r"embeddings\.patch_embedding\.weight", "stem.weight"),
    # Spelt so in the library, and so in every file.
    Rule(r"pre_layrnorm\.(weight|bias)", r"ln_pre.\1"),
    Rule(r"post_layernorm\.(weight|bias)", r"ln_post.\1"),
    Rule(_LAYER + r"layer_norm([12])\.(weight|bias)", r"blocks.\1.ln_\2.\3"),
    Rule(_LAYER + r"self_attn\.([qkv])_proj\.(weight|bias)", r"blocks.\1.attention.\2.\3"),
    # As torch's own attention fuses them.
    Rule(
        _LAYER + r"self_attn\.in_proj_(weight|bias)", *(rf"blocks.\1.attention.{name}.\2" for name in "qkv")
    ),
    Rule(_LAYER + r"self_attn\.out_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_LAYER + r"mlp\.fc1\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_LAYER + r"mlp\.fc2\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
)

# Version 5 puts `model.` before a layer.
_BLOCK = r"(?:model\.)?layer\.(\d+)\."
#: Names in its `DINOv3ViTModel` -> ours.
DINOV3_RULES = (
    Rule(r"embeddings\.cls_token", "cls"),
    Rule(r"embeddings\.register_tokens", "registers"),
    # What stood for a hidden patch in training.
    Rule(r"embeddings\.mask_token"),
    Rule(r"embeddings\.patch_embeddings\.(weight|bias)", r"stem.\1"),
    Rule(r"norm\.(weight|bias)", r"ln_post.\1"),
    Rule(_BLOCK + r"norm([12])\.(weight|bias)", r"blocks.\1.ln_\2.\3"),
    Rule(_BLOCK + r"attention\.([qkv])_proj\.(weight|bias)", r"blocks.\1.attention.\2.\3"),
    Rule(_BLOCK + r"attention\.o_proj\.(weight|bias)", r"blocks.\1.attention.out.\2"),
    Rule(_BLOCK + r"layer_scale([12])\.lambda1", r"blocks.\1.scale_\2"),
    Rule(_BLOCK + r"mlp\.up_proj\.(weight|bias)", r"blocks.\1.mlp.0.\2"),
    Rule(_BLOCK + r"mlp\.down_proj\.(weight|bias)", r"blocks.\1.mlp.2.\2"),
)
