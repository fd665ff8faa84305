"""Checkpoints: everything a run needs to go on as if it had not been interrupted, in one safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from deepscan.errors import ContractError, MissingError

LAST, BEST = "last.safetensors", "best.safetensors"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run stands after an epoch.

    Attributes:
        epoch: Epochs done.
        step: Steps done.
        best: Highest AUC of the choosing half so far.
        history: One row an epoch, for the log.
    """

    epoch: int
    step: int
    best: float
    history: tuple[Mapping[str, float], ...]


def save(
    path: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: Optimizer,
    progress: Progress,
    identity: Mapping[str, Any],
) -> None:
    """Write a checkpoint; one that was there stays whole until the new one is.

    Args:
        path: Where it goes.
        network: The network in training.
        average: Its averaged weights, None for none.
        optimiser: The optimiser.
        progress: Where the run stands.
        identity: What a run that resumes from it must share: recipe and data.
    """
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    for at, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{at}.{key}": value for key, value in state.items()}
    stated = {
        "epoch": progress.epoch,
        "step": progress.step,
        "best": progress.best,
        "history": [dict(row) for row in progress.history],
        "identity": identity,
    }
    _write(path, tensors, {"deepscan": json.dumps(stated)})


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the weights of a network alone, float32."""
    _write(path, network.state_dict(), {"format": "pt"})


def _write(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
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


def restore(
    path: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: Optimizer,
    identity: Mapping[str, Any],
) -> Progress:
    """Read a checkpoint into a network, its average and an optimiser that were built alike.

    Raises:
        MissingError: There is no checkpoint.
        ContractError: It cannot be read, or is of a run with another recipe or other data.
    """
    if not path.is_file():
        raise MissingError(f"there is no {path} to resume from", "start the run without --resume")
    try:
        with safe_open(path, framework="pt") as file:
            stated = json.loads((file.metadata() or {}).get("deepscan", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ContractError(f"{path} is not a checkpoint: {error}", "start the run without --resume")
    _check_identity(path, stated.get("identity") or {}, json.loads(json.dumps(identity)))
    network.load_state_dict(_part(tensors, "network."))
    if average is not None:
        average.load_state_dict(_part(tensors, "average."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimiser.").items():
        at, key = name.split(".", 1)
        state.setdefault(int(at), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return Progress(stated["epoch"], stated["step"], stated["best"], tuple(stated["history"]))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_identity(path: Path, former: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = [key for key in {**former, **now} if former.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise ContractError(
            f"{path} is of a run with other parameters: {key} was {former.get(key)!r}, is {now.get(key)!r}",
            "resume with the recipe and the data of the run, or start one without --resume",
        )
