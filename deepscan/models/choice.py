"""Choose the model of a scan when none is named."""

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

#: Value of `--model` for finding faces without scoring them.
NO_MODEL = "none"


@dataclass(frozen=True, slots=True)
class Choice:
    """A chosen model.

    Attributes:
        model: Its name.
        reason: Why it was chosen, for users and for the run's record.
    """

    model: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return the choice's entry in the run's record."""
        return {"model": self.model, "reason": self.reason}


def choose_model(
    *,
    device: str = AUTO,
    engine: str = AUTO,
    precision: str = AUTO,
    store: Path | None = None,
    gpus: Callable[[], int] = cuda_devices,
) -> Choice:
    """Return the model for a scan: the best installed one that is fast enough here, or else the built-in one.

    The best model is the first by the catalogue's rank; the catalogue gives the reasons. A model is fast
    enough on the device that the catalogue names: a ViT-L takes a second per face on a CPU, days for a
    folder, which installing it does not ask for. Models without a rank are not compared, and must be named.

    Args:
        device: Requested device: `auto`, `cpu` or `cuda`.
        engine: `auto`, or an engine that must be able to run the model.
        precision: `auto`, or a precision in which an engine must be able to run the model.
        store: Folder of installed models; None for the user's.
        gpus: Returns the number of GPUs.

    Raises:
        ContractError: The card of an installed model with a rank cannot be read. The scan does not fall back
            to another model, because the user has installed this one.
    """
    ranked = [(entry.rank, name) for name, entry in catalogue().items() if entry.rank is not None]
    folders = {folder.name: folder for folder in installed_models(store)}
    installed = [name for _, name in sorted(ranked) if name in folders]
    if not installed:
        return Choice(DEFAULT_MODEL, "the built-in model, because no installed model is chosen automatically")
    engines = {name: _engine(_card(folders[name]), engine, precision) for name in installed}
    runnable = {name: selected for name, selected in engines.items() if selected}
    if not runnable:
        options = f"engine {engine}, precision {precision}"
        return Choice(
            DEFAULT_MODEL,
            f"the built-in model, because {', '.join(installed)} cannot run here with {options}",
        )
    has_gpu = device != "cpu" and gpus() > 0
    fast = [
        name
        for name, selected in runnable.items()
        if catalogue()[name].device == "cpu" or (has_gpu and _on_gpu(selected))
    ]
    if not fast:
        first = next(iter(runnable))
        return Choice(
            DEFAULT_MODEL,
            f"the built-in model, because {first} takes about a second per face without a GPU; "
            f"to use it anyway, add --model {first}",
        )
    return Choice(fast[0], f"the best of the installed models that are fast enough here: {', '.join(fast)}")


def _card(folder: Path) -> ModelCard:
    try:
        return load_card(folder)
    except ContractError as error:
        raise ContractError(
            error.message,
            f"restore the folder, run: deepscan models remove {folder.name}, or name a model with --model",
        )


def _engine(card: ModelCard, engine: str, precision: str) -> str:
    """Return the engine for a model; empty if there is none or its package is not installed."""
    name = select_engine(card, engine, precision)
    return name if name and importlib.util.find_spec(ENGINES.get(name).package) else ""


def _on_gpu(engine: str) -> bool:
    """Return whether the framework of an engine can use the GPU that the driver shows."""
    if ENGINES.get(engine).package != "torch":
        # ONNX Runtime reports this when it loads the model; it is installed with GPU support where that
        # exists.
        return True
    import torch

    return torch.cuda.is_available()
