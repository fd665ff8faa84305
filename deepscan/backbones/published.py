"""What is published of each backbone: where its weights lie, and how its crops are normalised; no torch."""

from dataclasses import dataclass

from deepscan.backbones import BACKBONES
from deepscan.errors import UsageError

Triple = tuple[float, float, float]

_CLIP = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_HALF = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
#: For a backbone that nothing is published of: centres a picture and spreads it to about 1.
_OWN = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)

_OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
_TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True, slots=True)
class Published:
    """The published weights of a backbone.

    Attributes:
        layout: Whose layout they have: open_clip, timm (its transformers) or efficientnet (timm's too).
        model: Their name there.
        repository: Where they lie on the Hugging Face hub.
        files: Their names there, the preferred one first; each holds all of them.
        side: Side in pixels of the crops that we give the backbone.
        normalisation: Mean and standard deviation per RGB channel, of pixels in [0, 1].
    """

    layout: str
    model: str
    repository: str
    files: tuple[str, ...]
    side: int
    normalisation: tuple[Triple, Triple]


def _clip(model: str, repository: str) -> Published:
    return Published("open_clip", model, repository, _OPEN_CLIP_FILES, 224, _CLIP)


def _timm(model: str, side: int, normalisation: tuple[Triple, Triple]) -> Published:
    return Published("timm", model, f"timm/{model}", _TIMM_FILES, side, normalisation)


def _lite(number: int) -> Published:
    model = f"tf_efficientnet_lite{number}"
    return Published("efficientnet", model, f"timm/{model}.in1k", _TIMM_FILES, 224, _HALF)


#: Name of a backbone -> what is published of it.
PUBLISHED = {
    "clip-vit-l14": _clip("ViT-L-14-quickgelu", "timm/vit_large_patch14_clip_224.openai"),
    "clip-vit-b16": _clip("ViT-B-16-quickgelu", "timm/vit_base_patch16_clip_224.openai"),
    "siglip2-vit-l16": _timm("vit_large_patch16_siglip_256.v2_webli", 256, _HALF),
    "pe-core-vit-l14": _timm("vit_pe_core_large_patch14_336.fb", 224, _HALF),
    "dinov2-vit-l14": _timm("vit_large_patch14_dinov2.lvd142m", 224, _IMAGENET),
    "dinov3-vit-l16": _timm("vit_large_patch16_dinov3.lvd1689m", 224, _IMAGENET),
    "beitv2-vit-l16": _timm("beitv2_large_patch16_224.in1k_ft_in22k_in1k", 224, _IMAGENET),
    "imagenet-vit-l16": _timm("vit_large_patch16_224.augreg_in21k_ft_in1k", 224, _HALF),
    **{f"efficientnet-lite{number}": _lite(number) for number in range(3)},
}


def normalisation(name: str) -> tuple[Triple, Triple]:
    """Return the mean and standard deviation per RGB channel, of pixels in [0, 1], that a backbone takes.

    Raises:
        UsageError: There is no such backbone.
    """
    if name in PUBLISHED:
        return PUBLISHED[name].normalisation
    if name not in BACKBONES.names:
        # Says which name is near.
        BACKBONES.get(name)
    return _OWN


def published(name: str) -> Published:
    """Return what is published of a backbone.

    Raises:
        UsageError: Nothing is.
    """
    if name not in PUBLISHED:
        raise UsageError(
            f"no weights are published for the backbone {name!r}",
            "train it from weights=random, or give a checkpoint of ours as weights=FILE",
        )
    return PUBLISHED[name]
