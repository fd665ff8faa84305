"""Write a network's weights to a file."""

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
    """Round kernels and matrices in place to half precision; norms and biases are unchanged."""
    with torch.no_grad():
        for value in network.parameters():
            if value.ndim > 1:
                value.copy_(value.half())


def save_weights(path: Path, network: nn.Module, *, half: bool = False) -> None:
    """Write a network's weights, float32.

    Args:
        path: The file.
        network: The network.
        half: Whether to write kernels and matrices in half precision, which is lossless after
            `round_weights`.

    Raises:
        DeepscanError: The file cannot be written.
    """
    kernels = {name for name, value in network.named_parameters() if value.ndim > 1} if half else set()
    stored = {
        name: value.half() if name in kernels else value for name, value in network.state_dict().items()
    }
    write_tensors(path, stored, {"format": "pt"})


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write tensors to a safetensors file, atomically.

    Raises:
        DeepscanError: The file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    try:
        # safetensors needs contiguous tensors that share no memory, which channels_last ones are not.
        save_file(
            {
                name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
                for name, value in tensors.items()
            },
            temporary,
            metadata,
        )
        # safetensors creates files that only their owner can read.
        temporary.chmod(0o644)
        temporary.replace(path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise DeepscanError(
            f"{path} cannot be written: {error}",
            "free disk space, then use --resume to continue from the last checkpoint, if there is one",
        )
