"""Table of backbones with published weights: where the weights are and what they fit. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deepscan.errors import UsageError

Triple = tuple[float, float, float]
Normalisation = tuple[Triple, Triple]

_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)

_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")

_LARGE = {"side": 224, "width": 1024, "depth": 24, "heads": 16, "hidden": 4096}
_BASE = {"side": 224, "width": 768, "depth": 12, "heads": 12, "hidden": 3072}


@dataclass(frozen=True, slots=True)
class Published:
    """A backbone and its published weights.

    Attributes:
        layout: Layout of the weights: open_clip, timm (its transformers) or efficientnet (timm's).
        model: The model's name in that library.
        repository: Repository on the Hugging Face hub.
        files: File names in the repository, the preferred one first; each file holds all weights.
        normalisation: Mean and standard deviation per RGB channel, for pixels in [0, 1].
        sizes: Arguments that `network.backbone` may override: `side` of the crops in pixels and, for a
            transformer, the others of `pretrained.published_transformer`.
        fixed: Other properties of a transformer: `patch`, the patch's side in pixels; `patch_bias`, whether
            the patch embedding has a bias (default true); `rotary`, arguments of `Rotary`; `pool_heads`,
            heads of an `AttentionPool`; and other arguments of `VisionTransformer`.
    """

    layout: str
    model: str
    repository: str
    files: tuple[str, ...]
    normalisation: Normalisation
    sizes: Mapping[str, Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def transformer(self) -> bool:
        """Whether the backbone is built of transformer blocks."""
        return self.layout != "efficientnet"

    @property
    def stepwise(self) -> bool:
        """Whether a method can put its own tokens into the backbone.

        That needs a CLS token without pooling, and no attention bias that fits only the whole grid.
        """
        pooled = self.fixed.get("prefix") == 0 or "pool_heads" in self.fixed
        return self.transformer and not pooled and "relative" not in self.fixed


def _clip(model: str, repository: str, patch: int, sizes: Mapping[str, Any]) -> Published:
    # Norms before and after the blocks, QuickGELU, a projected CLS token.
    fixed = {"patch": patch, "patch_bias": False, "pre_norm": True, "activation": "quick-gelu"}
    return Published("open_clip", model, repository, _OPEN_CLIP_FILES, _CLIP, sizes, fixed)


def _timm(model: str, normalisation: Normalisation, sizes: Mapping[str, Any], **fixed: Any) -> Published:
    return Published("timm", model, f"timm/{model}", _TIMM_FILES, normalisation, sizes, fixed)


def _lite(number: int) -> Published:
    model = f"tf_efficientnet_lite{number}"
    return Published("efficientnet", model, f"timm/{model}.in1k", _TIMM_FILES, _HALF, {"side": 224})


#: Name of a backbone -> its published weights.
PUBLISHED = {
    # CLIP (Radford et al., 2021): 256 patches, 303.18 M parameters, 303.97 M with the projection.
    "clip-vit-l14": _clip(
        "ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.openai", 14, {**_LARGE, "projection": 768}
    ),
    # 196 patches.
    "clip-vit-b16": _clip(
        "ViT-B-16-quickgelu", "timm/vit_base_patch16_clip_224.openai", 16, {**_BASE, "projection": 512}
    ),
    # SigLIP 2 (Tschannen et al., 2025): 256 patches, no CLS token, attention pooling.
    "siglip2-vit-l16": _timm(
        "vit_large_patch16_siglip_256.v2_webli", _HALF, {**_LARGE, "side": 256}, patch=16, prefix=0, eps=1e-6
    ),
    # PE Core (Bolya et al., 2025): 256 patches; learnt and rotary positions (24 along an axis on any grid,
    # counted from 1, with interleaved pairs); attention pooling that includes the CLS token and has 8 heads
    # in every size of PE Core.
    "pe-core-vit-l14": _timm(
        "vit_pe_core_large_patch14_336.fb",
        _HALF,
        _LARGE,
        patch=14,
        patch_bias=False,
        pre_norm=True,
        rotary={
            "base": 10_000.0,
            "reach": 24.0,
            "shift": 1.0,
            "origin": 0.0,
            "columns_first": True,
            "interleaved": True,
        },
        pool_heads=8,
    ),
    # DINOv2 (Oquab et al., 2023), without registers: 256 patches.
    "dinov2-vit-l14": _timm(
        "vit_large_patch14_dinov2.lvd142m", _IMAGENET, _LARGE, patch=14, eps=1e-6, layer_scale=True
    ),
    # DINOv3 (Siméoni et al., 2025): 196 patches, 4 registers, rotary positions. Its attention has biases of
    # queries and values, which timm's weights leave out: set `biases: qv` for weights that have them.
    "dinov3-vit-l16": _timm(
        "vit_large_patch16_dinov3.lvd1689m",
        _IMAGENET,
        {**_LARGE, "biases": ""},
        patch=16,
        prefix=5,
        positions=False,
        rotary={},
        layer_scale=True,
    ),
    # BEiT v2 (Peng et al., 2022): 196 patches, a relative position bias in each block. Its only norm was
    # trained on the mean of the patches. Here it norms each token, like every other backbone's last norm, so
    # that the mean of the normed patches differs slightly from the classifier's input.
    "beitv2-vit-l16": _timm(
        "beitv2_large_patch16_224.in1k_ft_in22k_in1k",
        _IMAGENET,
        {**_LARGE, "biases": "qv"},
        patch=16,
        eps=1e-6,
        positions=False,
        relative=True,
        layer_scale=True,
    ),
    # A ViT trained on ImageNet's classes (Steiner et al., 2021): 196 patches.
    "imagenet-vit-l16": _timm(
        "vit_large_patch16_224.augreg_in21k_ft_in1k", _HALF, _LARGE, patch=16, eps=1e-6
    ),
    # 3.4, 4.1 and 4.8 million parameters; the first takes 0.8 GFLOP at 224 pixels.
    **{f"efficientnet-lite{number}": _lite(number) for number in range(3)},
}


def published(name: str) -> Published:
    """Return the entry of a backbone's published weights.

    Raises:
        UsageError: None are published.
    """
    if name not in PUBLISHED:
        raise UsageError(
            f"no weights are published for the backbone {name!r}",
            "train it from weights=random, or give a deepscan checkpoint as weights=FILE",
        )
    return PUBLISHED[name]
