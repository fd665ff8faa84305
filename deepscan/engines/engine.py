"""The engine protocol: runs a network on named arrays and reports the device actually used."""

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
        package: Python package that it needs: `onnxruntime`, `torch`.
        files: Precision -> kind of the card's file that it reads: `onnx`, `torch`, ...
        automatic: Whether `auto` may select it; engines that build or compile for minutes must be named.
        file: Kind of the card's file that was loaded.
        device: Device in use, `cpu` or `cuda`.
        precision: Precision in use: `fp32`, `bf16`, ...
        providers: What executes the network, in order, such as ONNX Runtime's execution providers.
        note: Why `auto` did not use the GPU that the driver shows; empty otherwise.
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
            device: `cpu`, `cuda`, or `auto` for a GPU if it works; a named device is never replaced.
            precision: `auto` or one of `files`.
            threads: Threads of one run in ONNX Runtime, None for one per core. torch's threads belong to the
                whole process and are not set here.

        Raises:
            UsageError: The engine does not support that device or precision.
            MissingError: The device, a package or the model's file is missing.
            ContractError: The file's hash differs from the card's.
        """

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the network's outputs by name.

        Args:
            inputs: Inputs by name; the first axis of each is the batch.
        """

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return versions and available devices, for the run's record and for `doctor`.

        Raises:
            MissingError: The engine's package is not installed.
        """


def resolve_precision(engine: type[Engine], precision: str) -> str:
    """Return the precision to use: float32 for `auto`.

    Raises:
        UsageError: The engine does not support it.
    """
    if precision == "auto":
        return "fp32"
    if precision not in engine.files:
        raise UsageError(
            f"the {engine.name} engine has no precision {precision!r}",
            f"choose from: {', '.join(engine.files)}",
        )
    return precision
