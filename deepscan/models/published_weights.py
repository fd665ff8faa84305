"""Read publishers' files of weights, as tensors only."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepscan.errors import ContractError, UsageError, first_line

#: Keys of the weights in checkpoints of training code.
_WRAPPERS = ("state_dict", "model")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """Content of a file.

    Attributes:
        weights: Weights by their publisher's names.
        config: Hyperparameters in the file.
    """

    weights: Mapping[str, Tensor]
    config: Mapping[str, Any] = field(default_factory=dict)


def check_exists(path: Path) -> None:
    """Check that a file exists.

    Raises:
        UsageError: It does not.
    """
    if not path.is_file():
        raise UsageError(f"file {path} does not exist", "name the file that you have downloaded")


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a state dict, bare or wrapped in a training checkpoint.

    Args:
        path: A safetensors file, or a torch file, from which no code is run.

    Raises:
        ContractError: The file cannot be read, contains code, or has no weights.
    """
    try:
        content = _load(path)
    except pickle.UnpicklingError as error:
        raise _unpicklable(path, error)
    except MemoryError:
        raise
    except Exception as error:  # neither library documents what it raises for other files
        raise ContractError(
            f"{path} cannot be read as weights: {first_line(error)}",
            "it may be truncated: compare its size with the publisher's, and download it again",
        )
    config = content.get("hyper_parameters", {}) if isinstance(content, Mapping) else {}
    weights = _unwrap(content)
    if not weights:
        raise ContractError(f"{path} has no weights", "give the publisher's file of weights")
    return Checkpoint(weights, config if isinstance(config, Mapping) else {})


def _load(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # Some files were saved on a GPU. With mmap, tensors are read when they are used.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _unpicklable(path: Path, error: Exception) -> ContractError:
    """Return the error for a pickle with more than tensors, naming the code that it would run."""
    try:
        unsafe = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # it parses the pickle too, and may fail on the same content
        unsafe = []
    if not unsafe:
        return ContractError(
            f"{path} cannot be read as weights: it is damaged, or another kind of file",
            "check that it is the right file; if it is, download it again: it may be truncated",
        )
    return ContractError(
        f"{path} contains more than tensors, and reading it would run code: {', '.join(unsafe[:4])}",
        "ask its publisher for a file with only weights (safetensors); deepscan never runs code from a file",
    )


def _unwrap(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name, without wrappers and the `module.` prefix of parallel training."""
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    if not isinstance(content, Mapping):
        return {}
    weights = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    if weights and all(name.startswith("module.") for name in weights):
        return {name.removeprefix("module."): value for name, value in weights.items()}
    return weights


def read_config(path: Path, name: str) -> Mapping[str, Any]:
    """Return the config next to a file; empty if it does not exist.

    Args:
        path: The file.
        name: Name of the config.

    Raises:
        ContractError: The config cannot be read.
    """
    config = path.with_name(name)
    if not config.is_file():
        return {}
    try:
        content = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{config}, the config of {path.name}, cannot be read: {error}", "download it again"
        )
    return content if isinstance(content, Mapping) else {}
