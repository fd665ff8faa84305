"""How a backbone is tuned: which of its parameters train, and what is added to them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from torch import nn

from deepscan.backbones.backbone import Backbone
from deepscan.backbones.vit import as_transformer
from deepscan.errors import UsageError
from deepscan.registry import Registry

_LORAS = ("lora", "gaussian-lora", "pissa", "olora", "rslora", "dora", "loha", "lokr", "ia3", "oft")
#: Type of a tuning -> what puts it on a backbone in place, from the keyword arguments that `network.tuning`
#: states beside its type.
TUNINGS: Registry[Callable[..., None]] = Registry(
    "type of tuning",
    {
        **dict.fromkeys(("fft", "frozen", "norm", "bias", "partial"), "deepscan.backbones.tuning"),
        "effort": "deepscan.backbones.effort",
        **dict.fromkeys(_LORAS, "deepscan.backbones.lora"),
    },
)

#: The matrices of a block, as a tuning's `targets` name them -> as the block does.
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
    """A matrix and what is trained of it, in the place of a linear map."""

    @abstractmethod
    def folded(self) -> nn.Linear:
        """Return the linear map that it amounts to."""


def tune(backbone: Backbone, stated: Mapping[str, Any]) -> None:
    """Make a backbone tunable in place, as `network.tuning` states.

    On the meta device too, where nothing is computed from weights: a tuned checkpoint then goes into it.

    Args:
        backbone: The backbone, with its weights.
        stated: Its `type`, and the type's arguments.

    Raises:
        UsageError: The type, a key or a value is wrong.
        MissingError: The type needs a package that is not installed.
    """
    arguments = dict(stated)
    kind = arguments.pop("type", None)
    if kind is None:
        raise UsageError("the network's tuning has no type", f"choose from: {', '.join(TUNINGS.names)}")
    put = TUNINGS.get(kind)
    try:
        put(backbone, **arguments)
    except (TypeError, ValueError) as error:
        raise UsageError(f"bad arguments for tuning {kind!r}: {error}", "correct network.tuning")


def fold(backbone: Backbone) -> None:
    """Put what was tuned back into plain matrices, in place.

    The backbone then has the names of one that was never tuned, and gives the same tokens up to rounding.
    """
    for name, module in list(backbone.named_modules()):
        if isinstance(module, TunedLinear):
            replace(backbone, name, module.folded())
        elif hasattr(module, "get_base_layer"):
            # A layer of peft's, which need not be installed here.
            cast(Any, module).merge()
            replace(backbone, name, cast(Any, module).get_base_layer())
    # What peft notes on the model that it changes.
    vars(backbone).pop("peft_config", None)


def matrices(backbone: Backbone, targets: Sequence[str]) -> dict[str, nn.Linear]:
    """Return the linear maps of all blocks that a tuning's targets name, by their names in the backbone.

    Raises:
        ValueError: A target is none of `MATRICES`, or there is none.
        UsageError: The backbone has no transformer blocks.
    """
    depth = as_transformer(backbone, "this type of tuning").depth
    wrong = [target for target in targets if target not in MATRICES]
    if wrong or not targets or isinstance(targets, str):
        raise ValueError(f"targets are a list of {', '.join(MATRICES)}, not {targets!r}")
    names = [f"blocks.{at}.{MATRICES[target]}" for at in range(depth) for target in targets]
    return {name: cast(nn.Linear, backbone.get_submodule(name)) for name in names}


def replace(backbone: nn.Module, name: str, module: nn.Module) -> None:
    """Put a module into a backbone in the place of the one of that name."""
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
    """Train the biases, those of norms among them ("BitFit", ACL 2022)."""
    for name, value in backbone.named_parameters():
        value.requires_grad_(name.endswith(".bias"))


@TUNINGS.register("partial")
def partial(backbone: Backbone, *, blocks: int = 4) -> None:
    """Train the last blocks and the norm after them ("Visual Prompt Tuning", ECCV 2022, Partial-k).

    Args:
        backbone: The backbone.
        blocks: How many.

    Raises:
        ValueError: The backbone has fewer.
        UsageError: It has none.
    """
    last = as_transformer(backbone, "this type of tuning").blocks
    if not 1 <= blocks <= len(last):
        raise ValueError(f"blocks must be 1 to {len(last)}, not {blocks}")
    backbone.requires_grad_(False)
    for module in (*last[-blocks:], backbone.ln_post):
        module.requires_grad_(True)
