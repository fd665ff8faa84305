"""The engine protocol: a network that runs on named arrays, and says on what it really runs."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.errors import UsageError

Arrays = Mapping[str, NDArray[np.float32]]


class Engine(Protocol):
    """A loaded network.

    Attributes:
        name: Registered name of the engine.
        package: What it runs on: `onnxruntime`, `torch`.
        files: Precision that it offers -> which of a card's files it reads then: `onnx`, `torch`, ...
        automatic: Whether `auto` may take it: what builds or compiles for minutes is asked for by name.
        file: Which of the card's files it has read.
        device: `cpu` or `cuda`, as it is and not as it was asked for.
        precision: `fp32`, `bf16`, ...
        providers: What executes the network, in order, such as ONNX Runtime's execution providers.
        note: Why `auto` did not take the better device that is there, empty where it did.
    """

    name: str
    package: ClassVar[str]
    files: ClassVar[Mapping[str, str]]
    automatic: ClassVar[bool]
    file: str
    device: str
    precision: str
    providers: tuple[str, ...]
    note: str

    def __init__(self, card: ModelCard, *, device: str, precision: str, threads: int | None) -> None:
        """Load the network of a card.

        Args:
            card: The model.
            device: `cpu`, `cuda`, or `auto` for the latter where it works; what was asked for by name is
                never replaced.
            precision: `auto` or one that the engine offers.
            threads: Threads of one run of ONNX Runtime, None for as many as there are cores. Those of torch
                are the whole process's: its owner sets them, as `train --threads` does.

        Raises:
            UsageError: The engine does not offer that device or precision.
            MissingError: The device, a package or the model's file is not there.
            ContractError: The file is not the one that the card names.
        """

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the network's outputs by name.

        Args:
            inputs: By name; the first axis of each is the batch.
        """

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return versions and what is on offer here, for the run's record and for `doctor`.

        Raises:
            MissingError: The engine's package is not installed.
        """


def resolve_precision(engine: type[Engine], precision: str) -> str:
    """Return the precision that an engine is asked for: `auto` is float32.

    Raises:
        UsageError: The engine does not offer it.
    """
    if precision == "auto":
        return "fp32"
    if precision not in engine.files:
        raise UsageError(
            f"the {engine.name} engine has no precision {precision!r}",
            f"choose from: {', '.join(engine.files)}",
        )
    return precision
