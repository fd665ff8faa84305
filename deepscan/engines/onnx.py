"""The ONNX Runtime engine."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.devices import cuda_devices, resolve
from deepscan.engines import ENGINES
from deepscan.engines.engine import Arrays, resolve_precision
from deepscan.errors import MissingError
from deepscan.offline import import_onnxruntime
from deepscan.onnx_session import open_session

#: Precision -> kind of the card's file.
PRECISIONS = {"fp32": "onnx", "int8": "onnx-int8"}


@ENGINES.register("onnx")
class OnnxEngine:
    """Runs a card's `onnx` file, or its `onnx-int8` file for int8, with ONNX Runtime."""

    name = "onnx"
    package: ClassVar = "onnxruntime"
    files: ClassVar[Mapping[str, str]] = PRECISIONS
    automatic: ClassVar = True

    def __init__(self, card: ModelCard, *, device: str, precision: str, threads: int | None) -> None:
        self.precision = resolve_precision(type(self), precision)
        self.device, self.note = resolve(device), ""
        self.file = PRECISIONS[self.precision]
        path = card.path(self.file)
        try:
            self._session = open_session(path, device=self.device, threads=threads)
        except MissingError as error:
            if device != "auto" or self.device == "cpu":
                raise
            self.device, self.note = "cpu", f"the CUDA driver shows a GPU, but {error.message}"
            self._session = open_session(path, device="cpu", threads=threads)
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the network's outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return ONNX Runtime's version, its available providers and the number of GPUs."""
        runtime = import_onnxruntime()
        return {
            "onnxruntime": runtime.__version__,
            "available": runtime.get_available_providers(),
            "gpus": cuda_devices(),
        }
