"""LoRA and similar adapters, through the peft library.

Adapters that need more than injection are left out: AdaLoRA must be called in every step, VeRA shares state
between layers, BOFT compiles an extension.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.tuning import MATRICES, TUNINGS, matrices
from deepscan.errors import MissingError, install_hint, missing_extra

ALL = tuple(MATRICES)
#: Kind of LoRA -> arguments of peft's `LoraConfig`.
_LORAS: Mapping[str, Mapping[str, Any]] = {
    "lora": {},
    "gaussian-lora": {"init_lora_weights": "gaussian"},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
}


def _inject(backbone: Backbone, config: str, targets: Sequence[str], **options: Any) -> None:
    try:
        import peft
    except ModuleNotFoundError:
        raise missing_extra("peft", "peft", "this type of tuning")
    except ImportError as error:
        # Installed, but incompatible with one of its dependencies.
        raise MissingError(f"peft cannot be imported: {error}", install_hint("peft"))
    names = list(matrices(backbone, targets))
    peft.inject_adapter_in_model(getattr(peft, config)(target_modules=names, **options), backbone)
    # Loading builds a network without values and fills it from a file, so the file must hold every buffer.
    for module in backbone.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            module.register_buffer(name, buffer, persistent=True)


def _lora(
    options: Mapping[str, Any],
    backbone: Backbone,
    /,
    *,
    rank: int = 4,
    alpha: float | None = None,
    dropout: float = 0.0,
    targets: Sequence[str] = ALL,
) -> None:
    """Add a product of two low-rank matrices to each target, and train only these ("LoRA", ICLR 2022).

    OLoRA and PiSSA first decompose each matrix, which takes 24 and 93 seconds on one core for a ViT-L.

    Args:
        options: The kind's arguments of `LoraConfig`.
        backbone: The backbone.
        rank: Rank of the products.
        alpha: Scales the products by alpha / rank, in rsLoRA by alpha / sqrt(rank); None for alpha = rank.
        dropout: Dropout rate on their inputs, in training.
        targets: Matrices of every block to tune; all of them at rank 4 are 1.77 M parameters on a ViT-L.
    """
    if next(backbone.parameters()).is_meta:
        # These two start from a decomposition of the weights, and meta tensors have no values.
        options = {key: value for key, value in options.items() if value not in ("pissa", "olora")}
    scale = rank if alpha is None else alpha
    _inject(backbone, "LoraConfig", targets, r=rank, lora_alpha=scale, lora_dropout=dropout, **options)


for _kind, _options in _LORAS.items():
    TUNINGS.register(_kind)(functools.partial(_lora, _options))


def _product(
    config: str,
    backbone: Backbone,
    /,
    *,
    rank: int = 4,
    alpha: float | None = None,
    targets: Sequence[str] = ALL,
) -> None:
    """Add Hadamard or Kronecker products of low-rank matrices ("LyCORIS", ICLR 2024).

    Args:
        config: Name of peft's config class.
        backbone: The backbone.
        rank: Rank of the factors.
        alpha: Scales the products by alpha / rank; None for alpha = rank.
        targets: Matrices of every block to tune.
    """
    _inject(backbone, config, targets, r=rank, alpha=rank if alpha is None else alpha)


TUNINGS.register("loha")(functools.partial(_product, "LoHaConfig"))
TUNINGS.register("lokr")(functools.partial(_product, "LoKrConfig"))


@TUNINGS.register("ia3")
def ia3(backbone: Backbone, *, targets: Sequence[str] = ("k", "v", "mlp.2")) -> None:
    """Scale keys, values and the MLP's hidden activations by learnt vectors ("(IA)^3", NeurIPS 2022).

    Args:
        backbone: The backbone.
        targets: Matrices of every block to tune: the outputs of q, k, v and out are scaled, and the inputs of
            mlp.0 and mlp.2.
    """
    in_mlp = [target for target in targets if target.startswith("mlp.")]
    feedforward = list(matrices(backbone, in_mlp)) if in_mlp else []
    _inject(backbone, "IA3Config", targets, feedforward_modules=feedforward)


@TUNINGS.register("oft")
def oft(backbone: Backbone, *, block: int = 32, targets: Sequence[str] = ALL) -> None:
    """Rotate the inputs of matrices by learnt orthogonal blocks ("Orthogonal Finetuning", NeurIPS 2023).

    Args:
        backbone: The backbone.
        block: Side of a block, a divisor of the matrices' input widths.
        targets: Matrices of every block to tune.
    """
    _inject(backbone, "OFTConfig", targets, r=0, oft_block_size=block)
