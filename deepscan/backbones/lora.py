"""LoRA and its kin, through the peft library.

Left out are those that need more than to be put in: AdaLoRA wants to be called in every step, VeRA shares
state between layers, BOFT compiles an extension of its own.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.tuning import MATRICES, TUNINGS, matrices
from deepscan.errors import MissingError, install_hint, missing_extra

ALL = tuple(MATRICES)
#: Kind of LoRA -> what peft's `LoraConfig` says of it.
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
        # It is there, and does not go with the packages that it uses.
        raise MissingError(f"peft cannot be imported: {error}", install_hint("peft"))
    names = list(matrices(backbone, targets))
    peft.inject_adapter_in_model(getattr(peft, config)(target_modules=names, **options), backbone)
    # A network is rebuilt without values and filled from a file, so that the file must hold every buffer.
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
    """Add products of two low-rank matrices to matrices, and train them alone ("LoRA", ICLR 2022).

    OLoRA and PiSSA decompose each matrix first: on a ViT-L 24 and 93 seconds on one core.

    Args:
        options: What makes the kind.
        backbone: The backbone.
        rank: Of the products.
        alpha: They are scaled by alpha / rank, in rsLoRA by alpha / sqrt(rank); None for alpha = rank.
        dropout: Rate on their inputs, in training.
        targets: Which matrices of every block; all of them at rank 4 are 1.77 M parameters on a ViT-L.
    """
    if next(backbone.parameters()).is_meta:
        # These two start from a decomposition of the weights, which are not there.
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
        config: peft's name of the kind.
        backbone: The backbone.
        rank: Of the factors.
        alpha: They are scaled by alpha / rank; None for alpha = rank.
        targets: Which matrices of every block.
    """
    _inject(backbone, config, targets, r=rank, alpha=rank if alpha is None else alpha)


TUNINGS.register("loha")(functools.partial(_product, "LoHaConfig"))
TUNINGS.register("lokr")(functools.partial(_product, "LoKrConfig"))


@TUNINGS.register("ia3")
def ia3(backbone: Backbone, *, targets: Sequence[str] = ("k", "v", "mlp.2")) -> None:
    """Scale keys, values and the MLP's hidden activations by learnt vectors ("(IA)^3", NeurIPS 2022).

    Args:
        backbone: The backbone.
        targets: Which matrices of every block: what q, k, v and out give is scaled, what mlp.0 and mlp.2
            take.
    """
    inward = [target for target in targets if target.startswith("mlp.")]
    feedforward = list(matrices(backbone, inward)) if inward else []
    _inject(backbone, "IA3Config", targets, feedforward_modules=feedforward)


@TUNINGS.register("oft")
def oft(backbone: Backbone, *, block: int = 32, targets: Sequence[str] = ALL) -> None:
    """Turn the inputs of matrices by learnt orthogonal blocks ("Orthogonal Finetuning", NeurIPS 2023).

    Args:
        backbone: The backbone.
        block: Side of a block, a divisor of the matrices' inputs.
        targets: Which matrices of every block.
    """
    _inject(backbone, "OFTConfig", targets, r=0, oft_block_size=block)
