"""Files of weights that others have written: read as tensors and nothing else."""

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from deepscan.errors import ContractError, UsageError, first_line

#: What training code calls the weights in a file that holds more.
_WRAPPERS = ("state_dict", "model")


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """What a file holds.

    Attributes:
        weights: By their publisher's names.
        stated: What the file states of itself.
    """

    weights: Mapping[str, Tensor]
    stated: Mapping[str, Any] = field(default_factory=dict)


def check_there(path: Path) -> None:
    """Make sure that there is a file.

    Raises:
        UsageError: There is none.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}", "name the file that you have fetched")


def read_checkpoint(path: Path) -> Checkpoint:
    """Return what a file holds: a state dict, bare or in what training code wraps it in.

    Args:
        path: A safetensors file, or one of torch, of which nothing is run.

    Raises:
        ContractError: It cannot be read, holds code, or holds no weights.
    """
    try:
        content = _content(path)
    except pickle.UnpicklingError as error:
        raise _unpicklable(path, error)
    except MemoryError:
        raise
    except Exception as error:  # what a file that is none of theirs raises in either library is not stated
        raise ContractError(
            f"{path} cannot be read as weights: {first_line(error)}",
            "it may be cut short: compare its size with the publisher's, and fetch it again",
        )
    stated = content.get("hyper_parameters", {}) if isinstance(content, Mapping) else {}
    weights = _bare(content)
    if not weights:
        raise ContractError(f"{path} holds no weights", "give the publisher's file of weights")
    return Checkpoint(weights, stated if isinstance(stated, Mapping) else {})


def _content(path: Path) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # Some were saved on a GPU. What lies in the file is read as it is used.
    return torch.load(path, map_location="cpu", weights_only=True, mmap=_is_zip(path))


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def _unpicklable(path: Path, error: Exception) -> ContractError:
    """Return the error for a pickle that is not a table of tensors, with the names of what it would run."""
    try:
        named = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # its own reading of the pickle may fail where that of the weights has
        named = []
    if not named:
        return ContractError(
            f"{path} cannot be read as weights: {first_line(error)}", "fetch it again: it may be cut short"
        )
    return ContractError(
        f"{path} holds more than tensors, and reading it would run code: {', '.join(named[:4])}",
        "ask its publisher for the weights alone (safetensors); deepscan never runs what a file brings",
    )


def _bare(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name, out of their wrapper, without the `module.` of parallel training."""
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


def stated_beside(path: Path, name: str) -> Mapping[str, Any]:
    """Return what a config beside a file states of it; nothing where there is none.

    Args:
        path: The file.
        name: Of the config.

    Raises:
        ContractError: There is one that cannot be read.
    """
    config = path.with_name(name)
    if not config.is_file():
        return {}
    try:
        stated = json.loads(config.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ContractError(
            f"{config}, which says how {path.name} is read, cannot be read: {error}", "fetch it again"
        )
    return stated if isinstance(stated, Mapping) else {}
