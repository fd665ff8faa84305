"""The files of a training run: checkpoints to resume from, the best weights, the log and its curves."""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.tensorboard import SummaryWriter

from deepscan.detectors.detector import FrozenNetwork
from deepscan.detectors.weights import write_tensors
from deepscan.errors import ContractError, MissingError
from deepscan.training.recipe_files import leaves_of, renamed_value

LAST, BEST = "last.safetensors", "best.safetensors"
LOG, CURVES = "log.csv", "tensorboard"
#: Steps between two points of a curve.
CURVE_INTERVAL = 20
_BACKBONE = "backbone."
#: What of a recipe says how the model is published, not how it is trained.
_PUBLISHING = ("terms", "license", "quantise")


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Where a run stands after a step.

    Attributes:
        epoch: Whole epochs done.
        step: Steps done in the one that is under way.
        best: Highest figure of the choosing half so far.
        history: One row an epoch, for the log.
        sums: Name -> sum and count of its finite values over this epoch's steps.
        seconds: Spent in this epoch.
    """

    epoch: int
    step: int
    best: float
    history: tuple[Mapping[str, float], ...]
    sums: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    seconds: float = 0.0


def save_checkpoint(
    path: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: Optimizer,
    progress: TrainingProgress,
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
    tensors = {f"network.{name}": value for name, value in kept(network).items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in kept(average).items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
    stated = {**asdict(progress), "identity": identity}
    write_tensors(path, tensors, {"deepscan": json.dumps(stated)})


def save_best(path: Path, network: nn.Module) -> None:
    """Write what training has changed of a network, for `load_best`.

    Raises:
        DeepscanError: There is no room for it.
    """
    write_tensors(path, kept(network), {"format": "pt"})


def load_best(path: Path, network: nn.Module) -> None:
    """Read what `save_best` has written into a network that was built alike.

    Raises:
        MissingError: There is no such file.
        ContractError: It is of another network.
    """
    if not path.is_file():
        raise MissingError(f"there is no {path}", "no epoch has ended yet: go on with --resume")
    _load(path, network, load_file(path))


def kept(network: nn.Module) -> dict[str, Tensor]:
    """Return what of a network a checkpoint keeps: all of it, but for a backbone that never changes."""
    state = network.state_dict()
    if isinstance(network, FrozenNetwork):
        return {name: value for name, value in state.items() if not name.startswith(_BACKBONE)}
    return state


def _load(path: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    state = network.state_dict()
    unchanged = {name: value for name, value in state.items() if name not in kept(network)}
    try:
        network.load_state_dict({**unchanged, **tensors})
    except RuntimeError as error:
        raise ContractError(
            f"{path} is of another network: {str(error).splitlines()[-1].strip()}",
            "resume with the recipe of the run",
        )


def restore_checkpoint(
    path: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: Optimizer,
    identity: Mapping[str, Any],
) -> TrainingProgress:
    """Read a checkpoint into a network, its average and an optimiser that were built alike.

    Raises:
        MissingError: There is no checkpoint.
        ContractError: It cannot be read, or is of a run with another recipe or other data.
    """
    if not path.is_file():
        raise MissingError(f"there is no {path} to resume from", "start the run without --resume")
    stated = read_stated(path, "start the run without --resume")
    tensors = load_file(path)
    _check_identity(path, stated.get("identity") or {}, json.loads(json.dumps(identity)))
    _load(path, network, _part(tensors, "network."))
    if average is not None:
        _load(path, average, _part(tensors, "average."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimiser.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return TrainingProgress(
        stated["epoch"],
        stated["step"],
        stated["best"],
        tuple(stated["history"]),
        {name: tuple(pair) for name, pair in stated["sums"].items()},
        stated["seconds"],
    )


def read_stated(path: Path, hint: str) -> dict[str, Any]:
    """Return what a checkpoint states beside its tensors: its progress, and the identity of its run.

    Raises:
        ContractError: It is not a checkpoint; with this hint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stated: dict[str, Any] = json.loads((file.metadata() or {}).get("deepscan", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ContractError(f"{path} is not a checkpoint: {error}", hint)
    return stated


def require_same_recipe(path: Path, identity: Mapping[str, Any]) -> None:
    """Check that a checkpoint is of a run with this recipe, without reading its tensors.

    Raises:
        ContractError: It is not, or cannot be read.
    """
    stated = read_stated(path, "begin anew with --overwrite")
    former = {key: value for key, value in (stated.get("identity") or {}).items() if key in identity}
    _check_identity(path, former, json.loads(json.dumps(identity)))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_identity(path: Path, former: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    former = {key: renamed_value(key, value) for key, value in leaves_of(former)}
    now = dict(leaves_of(now))
    keys = [key for key in {**former, **now} if key not in _PUBLISHING]
    changed = [key for key in keys if former.get(key) != now.get(key)]
    if changed:
        key = changed[0]
        raise ContractError(
            f"{path} is of a run with other parameters: {key} was {former.get(key)!r}, is {now.get(key)!r}",
            "resume with the recipe and the data of the run, or begin another in another --out",
        )


class Log:
    """Writes a run's log into its folder.

    Args:
        folder: The run's folder.
        step: Steps done before: points beyond them, of an interrupted run, are left out of the curves.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        folder.mkdir(parents=True, exist_ok=True)
        self._curves = SummaryWriter(folder / CURVES, purge_step=step or None)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Note the loss, its parts and the learning rate of a step, now and then."""
        if step % CURVE_INTERVAL == 0:
            for name, value in values.items():
                self._curves.add_scalar(f"step/{name}", value, step)

    def epoch(self, step: int, history: Sequence[Mapping[str, float]]) -> None:
        """Note an epoch: the last row of the history."""
        with self._path.open("w", newline="", encoding="utf-8") as file:
            # A run that is resumed without its cache tells more than it did before.
            names = dict.fromkeys(name for row in history for name in row)
            writer = csv.DictWriter(file, fieldnames=list(names), restval="")
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
        for name, value in history[-1].items():
            self._curves.add_scalar(f"epoch/{name}", value, step)
        self._curves.flush()

    def close(self) -> None:
        """Write what is left of the curves."""
        self._curves.close()
