"""The torch engine: builds a card's network and loads its weights."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard
from deepscan.devices import cuda_devices, resolve
from deepscan.engines import ENGINES
from deepscan.engines.engine import Arrays, resolve_precision
from deepscan.errors import MissingError, require

DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


@ENGINES.register("torch")
class TorchEngine:
    """Runs a card's `torch` file (safetensors) with the network of its method."""

    name = file = "torch"
    package: ClassVar = "torch"
    files: ClassVar[Mapping[str, str]] = dict.fromkeys(DTYPES, "torch")
    automatic: ClassVar = True

    def __init__(self, card: ModelCard, *, device: str, precision: str, threads: int | None) -> None:
        require(["torch"], "torch", "the torch engine")
        import torch

        from deepscan.detectors import load_network

        self.precision = resolve_precision(type(self), precision)
        self.device = resolve(device)
        self.note = ""
        if self.device == "cuda" and not torch.cuda.is_available():
            problem = "the CUDA driver shows a GPU, but this build of torch cannot use it"
            if device != "auto":
                raise MissingError(problem, "install torch for that driver's CUDA, or use --device cpu")
            self.device, self.note = "cpu", problem
        self.providers: tuple[str, ...] = (f"torch-{self.device}",)
        self._dtype = getattr(torch, DTYPES[self.precision])
        self._network = load_network(card).to(self.device, self._dtype).eval()

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the network's outputs by name."""
        import torch

        tensors = {
            name: torch.from_numpy(np.ascontiguousarray(array)).to(self.device, self._dtype)
            for name, array in inputs.items()
        }
        with torch.inference_mode():
            outputs = self._forward(tensors)
        return {name: tensor.float().cpu().numpy() for name, tensor in outputs.items()}

    def _forward(self, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._network.predict(**tensors)

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return torch's version, the CUDA version that it was built with, and the number of GPUs."""
        require(["torch"], "torch", "the torch engine")
        import torch

        return {"torch": torch.__version__, "cuda": torch.version.cuda, "gpus": cuda_devices()}
