"""Tuning of a backbone: which of its parameters train, and which are added."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import as_transformer
from deepscan.errors import UsageError
from deepscan.registry import Registry

_LORAS = ("lora", "gaussian-lora", "pissa", "olora", "rslora", "dora", "loha", "lokr", "ia3", "oft")
#: Type of tuning -> function that applies it to a backbone in place. Its keyword arguments are the other keys
#: of `network.tuning`.
TUNINGS: Registry[Callable[..., None]] = Registry(
    "type of tuning",
    {
        **dict.fromkeys(("fft", "frozen", "norm", "bias", "partial"), "deepscan.backbones.tuning"),
        "effort": "deepscan.backbones.effort",
        **dict.fromkeys(_LORAS, "deepscan.backbones.lora"),
    },
)

#: Name of a block's matrix in a tuning's `targets` -> its name in the block.
MATRICES = {
    "q": "attention.q",
    "k": "attention.k",
    "v": "attention.v",
    "out": "attention.out",
    "mlp.0": "mlp.0",
    "mlp.2": "mlp.2",
}
ATTENTION = ("q", "k", "v", "out")


class TunedLinear(nn.Module, ABC):
    """A tuned matrix that replaces a linear map."""

    @abstractmethod
    def folded(self) -> nn.Linear:
        """Return the equivalent linear map."""


def tune(backbone: Backbone, settings: Mapping[str, Any]) -> None:
    """Apply `network.tuning` to a backbone, in place.

    It works on the meta device too, without computing anything from weights, to load a tuned checkpoint.

    Args:
        backbone: The backbone, with its weights.
        settings: The tuning's `type` and the type's arguments.

    Raises:
        UsageError: The type, a key or a value is wrong.
        MissingError: The type needs a package that is not installed.
    """
    arguments = dict(settings)
    kind = arguments.pop("type", None)
    if kind is None:
        raise UsageError("network.tuning has no type", f"choose from: {', '.join(TUNINGS.names)}")
    apply = TUNINGS.get(kind)
    try:
        apply(backbone, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments for tuning {kind!r}: {error}", "correct network.tuning")


def fold(backbone: Backbone) -> None:
    """Merge the tuning into plain matrices, in place.

    The backbone then has the parameter names of an untuned one, and the same tokens up to rounding.
    """
    for name, module in list(backbone.named_modules()):
        if isinstance(module, TunedLinear):
            replace(backbone, name, module.folded())
        elif hasattr(module, "get_base_layer"):
            # A peft layer; peft need not be installed here.
            cast(Any, module).merge()
            replace(backbone, name, cast(Any, module).get_base_layer())
    # peft sets this on the model that it changes.
    vars(backbone).pop("peft_config", None)


def matrices(backbone: Backbone, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """Return the linear maps of all blocks that a tuning's targets name, by their names in the backbone.

    Raises:
        ValueError: A target is not in `MATRICES`, or the list is empty.
        UsageError: The backbone has no transformer blocks.
    """
    depth = as_transformer(backbone, "this type of tuning").depth
    unknown = [target for target in targets if target not in MATRICES]
    if unknown or not targets or isinstance(targets, str):
        raise ValueError(f"targets must be a list of any of {', '.join(MATRICES)}, not {targets!r}")
    names = [f"blocks.{index}.{MATRICES[target]}" for index in range(depth) for target in targets]
    return {name: cast(nn.Linear, backbone.get_submodule(name)) for name in names}


def replace(backbone: nn.Module, name: str, module: nn.Module) -> None:
    """Replace the module of that name in a backbone."""
    parent, _, child = name.rpartition(".")
    setattr(backbone.get_submodule(parent), child, module)


@TUNINGS.register("fft")
def fft(backbone: Backbone) -> None:
    """Train everything."""
    backbone.requires_grad_(True)


@TUNINGS.register("frozen")
def frozen(backbone: Backbone) -> None:
    """Train nothing."""
    backbone.requires_grad_(False)


@TUNINGS.register("norm")
def norm(backbone: Backbone) -> None:
    """Train the layer norms ("Strong Baselines for Parameter-Efficient Few-Shot Fine-Tuning", 2023)."""
    backbone.requires_grad_(False)
    for module in backbone.modules():
        if isinstance(module, nn.LayerNorm):
            module.requires_grad_(True)


@TUNINGS.register("bias")
def bias(backbone: Backbone) -> None:
    """Train the biases, including those of norms ("BitFit", ACL 2022)."""
    for name, value in backbone.named_parameters():
        value.requires_grad_(name.endswith(".bias"))


@TUNINGS.register("partial")
def partial(backbone: Backbone, *, blocks: int = 4) -> None:
    """Train the last blocks and the norm after them ("Visual Prompt Tuning", ECCV 2022, Partial-k).

    Args:
        backbone: The backbone.
        blocks: Number of blocks to train.

    Raises:
        ValueError: The number is out of range.
        UsageError: The backbone has no transformer blocks.
    """
    last = as_transformer(backbone, "this type of tuning").blocks
    if not 1 <= blocks <= len(last):
        raise ValueError(f"blocks must be 1 to {len(last)}, not {blocks}")
    backbone.requires_grad_(False)
    for module in (*last[-blocks:], backbone.ln_post):
        module.requires_grad_(True)
