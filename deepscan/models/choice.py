"""Which model a scan takes when none is named."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepscan import cards
from deepscan.cards import DEFAULT_MODEL, ModelCard
from deepscan.engines.device import cuda_devices
from deepscan.media.decoders import AUTO
from deepscan.models.catalogue import catalogue


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


def choose(
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
        engine: `auto`, or one that the model must have a file for.
        precision: `auto`, or one that the model must have.
        store: Where installed models are; None for the user's folder.
        gpus: Says how many GPUs there are.
    """
    ranked = [(known.rank, name) for name, known in catalogue().items() if known.rank is not None]
    folders = {folder.name: folder for folder in cards.installed(store)}
    there = [name for _, name in sorted(ranked) if name in folders]
    if not there:
        return Choice(DEFAULT_MODEL, "embedded; no published model that scans faces is installed")
    runnable = [name for name in there if _runs(cards.load(folders[name]), engine, precision)]
    if not runnable:
        asked = f"engine {engine}, precision {precision}"
        return Choice(DEFAULT_MODEL, f"embedded; {', '.join(there)} cannot run here with {asked}")
    has_gpu = device != "cpu" and gpus() > 0
    quick = [
        name
        for name in runnable
        if catalogue()[name].device == "cpu" or (has_gpu and _on_gpu(cards.load(folders[name]), engine))
    ]
    if not quick:
        return Choice(
            DEFAULT_MODEL,
            f"embedded; {runnable[0]} is installed, but takes about a second a face without a GPU: "
            f"--model {runnable[0]} takes it nonetheless",
        )
    return Choice(quick[0], f"installed, and the first by the catalogue's rank of {', '.join(quick)}")


def _runs(card: ModelCard, engine: str, precision: str) -> bool:
    """Return whether a model has a file for what is asked for, and what reads it is installed."""
    if precision == "int8":
        return "onnx-int8" in card.files
    if engine != AUTO:
        return engine in card.files
    return "onnx" in card.files or ("torch" in card.files and importlib.util.find_spec("torch") is not None)


def _on_gpu(card: ModelCard, engine: str) -> bool:
    """Return whether the framework that would run a model can use the GPU that the driver shows."""
    if "onnx" in card.files and engine != "torch":
        # ONNX Runtime is asked when it loads the model; it comes with its GPU support wherever that exists.
        return True
    import torch

    return torch.cuda.is_available()
