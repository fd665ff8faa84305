"""Which model a scan takes when none is named."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepscan.cards import ModelCard
from deepscan.devices import cuda_devices
from deepscan.engines import ENGINES
from deepscan.engines.selection import select_engine
from deepscan.errors import ContractError
from deepscan.media.decoders import AUTO
from deepscan.models.catalogue import catalogue
from deepscan.models.lookup import DEFAULT_MODEL, installed_models, load_card

#: Finds faces and scores nothing.
NO_MODEL = "none"


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that was chosen.

    Attributes:
        model: Its name.
        reason: Why this one, for people and for the run's record.
    """

    model: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return what the run's record says of it."""
        return {"model": self.model, "reason": self.reason}


def choose_model(
    *,
    device: str = AUTO,
    engine: str = AUTO,
    precision: str = AUTO,
    store: Path | None = None,
    gpus: Callable[[], int] = cuda_devices,
) -> Choice:
    """Return the model for a scan: the best installed one that is quick enough here, else the embedded one.

    Best is what the catalogue ranks first; it says why. Quick enough is what it states the device of: a ViT-L
    takes a second a face on a CPU, so that a folder takes days instead of minutes, and nobody asks for that
    by installing it. Models without a rank are never taken unless named: nothing compares them.

    Args:
        device: As it is asked for: `auto`, `cpu` or `cuda`.
        engine: `auto`, or one that must be able to run the model.
        precision: `auto`, or one that an engine must be able to run the model in.
        store: Where installed models are; None for the user's folder.
        gpus: Says how many GPUs there are.

    Raises:
        ContractError: The card of an installed one that has a rank cannot be read: whether it is the best one
            is not known then, and a scan by a lesser one would not be what its user has set up.
    """
    ranked = [(known.rank, name) for name, known in catalogue().items() if known.rank is not None]
    folders = {folder.name: folder for folder in installed_models(store)}
    there = [name for _, name in sorted(ranked) if name in folders]
    if not there:
        return Choice(DEFAULT_MODEL, "the built-in one: no installed model may be taken unless it is named")
    engines = {name: _engine(_card(folders[name]), engine, precision) for name in there}
    runnable = {name: found for name, found in engines.items() if found}
    if not runnable:
        asked = f"engine {engine}, precision {precision}"
        return Choice(DEFAULT_MODEL, f"embedded; {', '.join(there)} cannot run here with {asked}")
    has_gpu = device != "cpu" and gpus() > 0
    quick = [
        name
        for name, found in runnable.items()
        if catalogue()[name].device == "cpu" or (has_gpu and _on_gpu(found))
    ]
    if not quick:
        first = next(iter(runnable))
        return Choice(
            DEFAULT_MODEL,
            f"embedded; {first} is installed, but takes about a second a face without a GPU: "
            f"--model {first} takes it nonetheless",
        )
    return Choice(quick[0], f"installed, and the first by the catalogue's rank of {', '.join(quick)}")


def _card(folder: Path) -> ModelCard:
    try:
        return load_card(folder)
    except ContractError as error:
        raise ContractError(
            error.message,
            f"restore the folder, or run: deepscan models remove {folder.name}; --model takes another",
        )


def _engine(card: ModelCard, engine: str, precision: str) -> str:
    """Return the engine that would run a model, empty where none would or its package is not installed."""
    name = select_engine(card, engine, precision)
    return name if name and importlib.util.find_spec(ENGINES.get(name).package) else ""


def _on_gpu(engine: str) -> bool:
    """Return whether the framework of an engine can use the GPU that the driver shows."""
    if ENGINES.get(engine).package != "torch":
        # ONNX Runtime is asked when it loads the model; it comes with its GPU support wherever that exists.
        return True
    import torch

    return torch.cuda.is_available()
