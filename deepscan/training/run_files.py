"""Files of a training run: checkpoints, the best weights, the log and its curves."""

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
#: Keys of a recipe that affect how the model is published, not how it is trained.
_PUBLISHING = ("terms", "license", "quantise")


@dataclass(frozen=True, slots=True)
class TrainingProgress:
    """Progress of a run after a step.

    Attributes:
        epoch: Number of finished epochs.
        step: Steps done in the current epoch.
        best: Highest value of the metric that chooses the epoch, so far.
        history: One row per epoch, for the log.
        sums: Name of a loss -> sum and count of its finite values in this epoch.
        seconds: Duration of this epoch so far.
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
    """Write a checkpoint, atomically.

    Args:
        path: The file.
        network: The network in training.
        average: Its averaged weights, None for none.
        optimiser: The optimiser.
        progress: The run's progress.
        identity: Recipe and data, which a resumed run must share.

    Raises:
        DeepscanError: The file cannot be written.
    """
    tensors = {f"network.{name}": value for name, value in trained_state(network).items()}
    if average is not None:
        tensors |= {f"average.{name}": value for name, value in trained_state(average).items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{key}": value for key, value in state.items()}
    metadata = {**asdict(progress), "identity": identity}
    write_tensors(path, tensors, {"deepscan": json.dumps(metadata)})


def save_best(path: Path, network: nn.Module) -> None:
    """Write the trained weights of a network, for `load_best`.

    Raises:
        DeepscanError: The file cannot be written.
    """
    write_tensors(path, trained_state(network), {"format": "pt"})


def load_best(path: Path, network: nn.Module) -> None:
    """Load the weights written by `save_best` into a network with the same settings.

    Raises:
        MissingError: The file does not exist.
        ContractError: The file is from another network.
    """
    if not path.is_file():
        raise MissingError(
            f"{path} does not exist, because no epoch has been completed", "continue with --resume"
        )
    _load(path, network, load_file(path))


def trained_state(network: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a checkpoint contains: all except those of a frozen backbone."""
    state = network.state_dict()
    if isinstance(network, FrozenNetwork):
        return {name: value for name, value in state.items() if not name.startswith(_BACKBONE)}
    return state


def _load(path: Path, network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    state = network.state_dict()
    unchanged = {name: value for name, value in state.items() if name not in trained_state(network)}
    try:
        network.load_state_dict({**unchanged, **tensors})
    except RuntimeError as error:
        raise ContractError(
            f"{path} is from another network: {str(error).splitlines()[-1].strip()}",
            "resume with the recipe of the run",
        )


def restore_checkpoint(
    path: Path,
    network: nn.Module,
    average: nn.Module | None,
    optimiser: Optimizer,
    identity: Mapping[str, Any],
) -> TrainingProgress:
    """Load a checkpoint into a network, its average and an optimiser with the same settings.

    Raises:
        MissingError: The checkpoint does not exist.
        ContractError: It cannot be read, or is from a run with another recipe or other data.
    """
    if not path.is_file():
        raise MissingError(f"the checkpoint {path} to resume from does not exist", "start without --resume")
    metadata = read_metadata(path, "start the run without --resume")
    tensors = load_file(path)
    _check_identity(path, metadata.get("identity") or {}, json.loads(json.dumps(identity)))
    _load(path, network, _part(tensors, "network."))
    if average is not None:
        _load(path, average, _part(tensors, "average."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in _part(tensors, "optimiser.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    return TrainingProgress(
        metadata["epoch"],
        metadata["step"],
        metadata["best"],
        tuple(metadata["history"]),
        {name: tuple(pair) for name, pair in metadata["sums"].items()},
        metadata["seconds"],
    )


def read_metadata(path: Path, hint: str) -> dict[str, Any]:
    """Return a checkpoint's metadata: its progress and the identity of its run.

    Args:
        path: The checkpoint.
        hint: Hint of the error.

    Raises:
        ContractError: The file is not a checkpoint.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, Any] = json.loads((file.metadata() or {}).get("deepscan", "{}"))
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ContractError(f"{path} is not a checkpoint: {error}", hint)
    return metadata


def require_same_recipe(path: Path, identity: Mapping[str, Any]) -> None:
    """Check that a checkpoint is from a run with this recipe, without reading its tensors.

    Raises:
        ContractError: It is not, or cannot be read.
    """
    metadata = read_metadata(path, "start over with --overwrite")
    former = {key: value for key, value in (metadata.get("identity") or {}).items() if key in identity}
    _check_identity(path, former, json.loads(json.dumps(identity)))


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _check_identity(path: Path, former: Mapping[str, Any], current: Mapping[str, Any]) -> None:
    former = {key: renamed_value(key, value) for key, value in leaves_of(former)}
    current = dict(leaves_of(current))
    keys = [key for key in {**former, **current} if key not in _PUBLISHING]
    changed = [key for key in keys if former.get(key) != current.get(key)]
    if changed:
        key = changed[0]
        raise ContractError(
            f"{path} is from a run with other settings: {key} was {former.get(key)!r}, is "
            f"{current.get(key)!r}",
            "resume with the recipe and the data of the run, or start another run in another --out",
        )


class Log:
    """Writes a run's log into its folder.

    Args:
        folder: The run's folder.
        step: Number of steps done; later points of an interrupted run are removed from the curves.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._path = folder / LOG
        folder.mkdir(parents=True, exist_ok=True)
        self._curves = SummaryWriter(folder / CURVES, purge_step=step or None)

    def step(self, step: int, values: Mapping[str, float]) -> None:
        """Add the loss, its parts and the learning rate to the curves every `CURVE_INTERVAL` steps."""
        if step % CURVE_INTERVAL == 0:
            for name, value in values.items():
                self._curves.add_scalar(f"step/{name}", value, step)

    def epoch(self, step: int, history: Sequence[Mapping[str, float]]) -> None:
        """Write the log, and add the last epoch to the curves."""
        with self._path.open("w", newline="", encoding="utf-8") as file:
            # A run that is resumed without its cache has more columns than before.
            names = dict.fromkeys(name for row in history for name in row)
            writer = csv.DictWriter(file, fieldnames=list(names), restval="")
            writer.writeheader()
            writer.writerows({name: f"{value:.6g}" for name, value in row.items()} for row in history)
        for name, value in history[-1].items():
            self._curves.add_scalar(f"epoch/{name}", value, step)
        self._curves.flush()

    def close(self) -> None:
        """Write the rest of the curves."""
        self._curves.close()
