"""The file of a network's weights."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from deepscan.errors import DeepscanError

#: Name of the weights in a model folder.
WEIGHTS = "model.safetensors"


def round_weights(network: nn.Module) -> None:
    """Round kernels and matrices, in place, to what half precision holds; norms and biases stay."""
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.copy_(value.half())


def save_weights(path: Path, network: nn.Module, *, half: bool = False) -> None:
    """Write the weights of a network alone, float32.

    Args:
        path: The file.
        network: The network.
        half: Whether kernels and matrices are written in half precision: see `round_weights`, after which
            nothing is lost.

    Raises:
        DeepscanError: There is no room for them.
    """
    kernels = {name for name, value in network.named_parameters() if value.ndim > 1} if half else set()
    stored = {
        name: value.half() if name in kernels else value for name, value in network.state_dict().items()
    }
    write_tensors(path, stored, {"format": "pt"})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors into a safetensors file; one that was there stays whole until the new one is.

    Raises:
        DeepscanError: There is no room for them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        # safetensors wants each tensor in its plain order and in memory of its own; channels_last is neither.
        save_file(
            {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in tensors.items()
            },
            temporary,
            metadata,
        )
        # safetensors makes its files readable for their owner alone.
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise DeepscanError(
            f"{path} cannot be written: {error}",
            "make room, and go on with --resume from the checkpoint before, if there was one",
        )
