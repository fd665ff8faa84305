"""The torch-compile engine: the torch engine's network, compiled for a GPU by torch.compile."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deepscan.cards import ModelCard
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.devices import resolve
from deepscan.engines import ENGINES
from deepscan.engines.golden import golden_crops
from deepscan.engines.torch import TorchEngine
from deepscan.errors import DeepscanError, MissingError, UsageError

#: Device and compiler. On a CPU the gain has not been measured.
DEVICE, BACKEND = "cuda", "inductor"
#: Mode of `torch.compile`. Modes that tune longer or record CUDA graphs need batches of one size.
MODE = "default"


@ENGINES.register("torch-compile")
class CompiledEngine(TorchEngine):
    """Runs a card's `torch` file, compiled as one graph for any batch size.

    Compiling takes part of a minute or more, at the start and again for the first batch of one crop. `auto`
    never selects this engine. A network that cannot be compiled as a whole is an error.
    """

    name = "torch-compile"
    automatic: ClassVar = False

    def __init__(self, card: ModelCard, *, device: str, precision: str, threads: int | None) -> None:
        if device not in ("auto", DEVICE):
            raise UsageError(f"the {self.name} engine runs only on a GPU", "use --engine torch")
        super().__init__(card, device=device, precision=precision, threads=threads)
        if self.device != DEVICE:
            raise MissingError(
                f"the {self.name} engine needs a GPU: {self.note or 'the CUDA driver reports no GPU'}",
                "install the GPU's driver and a build of torch for it, or use --engine torch",
            )
        if self._network.exportable() is not self._network:
            raise UsageError(
                f"model {card.name!r} has control flow that depends on its inputs, and cannot be compiled",
                "use --engine torch",
            )
        import torch

        self.providers = (f"{BACKEND}-{self.device}",)
        self._mark = torch._dynamo.maybe_mark_dynamic
        self._compiled = torch.compile(self._network.predict, mode=MODE, backend=BACKEND, fullgraph=True)
        self._try(card)

    def _forward(self, tensors: Mapping[str, Any]) -> Mapping[str, Any]:
        for tensor in tensors.values():
            self._mark(tensor, 0)
        outputs: Mapping[str, Any] = self._compiled(**tensors)
        return outputs

    def _try(self, card: ModelCard) -> None:
        """Compile now, so that a failure is reported as such and the first batch does not wait."""
        inputs = make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
        try:
            self.run(inputs(golden_crops(card.face_crop.input_side)))
        except DeepscanError:
            raise
        except Exception as error:
            # The first line names the compiler, the second has its message.
            reason = " ".join(str(error).splitlines()[:2]) or type(error).__name__
            raise MissingError(
                f"torch.compile cannot compile model {card.name!r} here: {reason}",
                "use --engine torch, which needs no compiler",
            )

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return versions, the compiler's mode, and which sizes are dynamic.

        Raises:
            MissingError: There is no GPU, or torch is not installed.
        """
        if resolve("auto") != DEVICE:
            raise MissingError(
                "the engine needs a GPU, and the CUDA driver reports no GPU",
                "use --engine torch, which runs the same models",
            )
        return {**super().describe(), "mode": MODE, "dynamic": "batch"}
