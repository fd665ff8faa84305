"""The log of a run: a row an epoch in CSV, and curves for TensorBoard."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from torch.utils.tensorboard import SummaryWriter

LOG, CURVES = "log.csv", "tensorboard"
#: Steps between two points of a curve.
INTERVAL = 20


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

    def step(self, step: int, told: Mapping[str, float]) -> None:
        """Note the loss, its parts and the learning rate of a step, now and then."""
        if step % INTERVAL == 0:
            for name, value in told.items():
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._curves.close()
