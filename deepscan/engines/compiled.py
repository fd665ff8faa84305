"""The torch-compile engine: the torch engine's network, compiled for a GPU by torch."""

from collections.abc import Mapping
from typing import Any, ClassVar

from deepscan.cards import ModelCard
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.devices import resolve
from deepscan.engines import ENGINES
from deepscan.engines.golden import golden_crops
from deepscan.engines.torch import TorchEngine
from deepscan.errors import DeepscanError, MissingError, UsageError

#: What it compiles for, and what compiles: on a CPU nobody has measured that it pays.
DEVICE, BACKEND = "cuda", "inductor"
#: Of `torch.compile`. The modes that tune longer or record CUDA graphs want batches of one size.
MODE = "default"


@ENGINES.register("torch-compile")
class CompiledEngine(TorchEngine):
    """Runs a card's `torch` file, compiled as one graph that takes any batch.

    Compiling takes part of a minute or more, at the start and once more where a batch is of another kind (a
    single crop). `auto` never takes this engine. What cannot be compiled is an error: as one graph, it cannot
    go on in part uncompiled.
    """

    name = "torch-compile"
    automatic: ClassVar = False

    def __init__(self, card: ModelCard, *, device: str, precision: str, threads: int | None) -> None:
        if device not in ("auto", DEVICE):
            raise UsageError(f"the {self.name} engine compiles for a GPU alone", "use --engine torch")
        super().__init__(card, device=device, precision=precision, threads=threads)
        if self.device != DEVICE:
            raise MissingError(
                f"the {self.name} engine needs a GPU: {self.note or 'the CUDA driver shows none'}",
                "install what is missing, or use --engine torch",
            )
        if self._network.exportable() is not self._network:
            raise UsageError(
                f"model {card.name!r} chooses its way by what it sees, and cannot be compiled",
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
        """Compile now, so that a failure is told as what it is and no first batch waits."""
        inputs = make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
        try:
            self.run(inputs(golden_crops(card.face_crop.input_side)))
        except DeepscanError:
            raise
        except Exception as error:
            # What the compiler says comes in the second line, under which compiler it was.
            told = " ".join(str(error).splitlines()[:2]) or type(error).__name__
            raise MissingError(
                f"torch.compile cannot compile model {card.name!r} here: {told}",
                "use --engine torch, which runs it as it is",
            )

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return versions, and how it compiles: the mode, and which sizes may change.

        Raises:
            MissingError: There is no GPU to compile for, or torch is not installed.
        """
        if resolve("auto") != DEVICE:
            raise MissingError(
                "it compiles for a GPU, and the CUDA driver shows none",
                "not needed: the torch engine runs the same networks",
            )
        return {**super().describe(), "mode": MODE, "dynamic": "batch"}
