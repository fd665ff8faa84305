"""Export of a torch network to ONNX, behind a gate that compares the two."""

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscan.detectors.detector import Network
from deepscan.engines.golden import golden_crops, normalised
from deepscan.errors import ContractError

#: Largest difference of probabilities between ONNX and torch, both float32 on a CPU.
TOLERANCE = 1e-3
OPSET = 20
INPUT = "crops"
OUTPUTS = ("probability", "attention")


class Exported(nn.Module):
    """A network as it is exported: crops in, probability of fake and attention out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return probability, shape (B,), and attention, shape (B, K, P), of crops (B, 3, S, S)."""
        outputs = self.network.predict(crops=crops)
        return outputs["probability"], outputs["attention"]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported model is from its network.

    Attributes:
        probability: Largest difference of probabilities.
        attention: Largest difference of attention weights.
        samples: Crops compared.
    """

    probability: float
    attention: float
    samples: int


def export_onnx(
    network: Network,
    path: Path,
    *,
    side: int,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    metadata: Mapping[str, str],
) -> Parity:
    """Write a network as an ONNX file and hold it against the network.

    The graph takes `crops`, normalised, shape (B, 3, S, S), float32, B free, and gives `probability`, shape
    (B,), and `attention`, shape (B, K, P), float32. Normalising stays outside, as the card states it. The
    file's own metadata carry `metadata`, the versions, the tolerance and the differences that were measured.

    Args:
        network: The network; it is left in evaluation mode.
        path: Where the file goes; it is only there afterwards if the gate was passed.
        side: Side S.
        mean: Per RGB channel, for the golden input.
        std: Per RGB channel, for the golden input.
        metadata: What else the file should say of itself: model, method, SHA-256 of the weights.

    Raises:
        ContractError: ONNX Runtime and torch differ by `TOLERANCE` or more.
    """
    import onnx

    wrapped = Exported(network).eval().to("cpu", torch.float32)
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (3, side, side, 3)).astype(np.uint8)
    crops = normalised(np.concatenate([golden_crops(side), noise]), mean, std)
    temporary = path.with_suffix(".tmp.onnx")
    try:
        _write(wrapped, torch.from_numpy(crops[:2]), temporary)
        parity = _compare(wrapped, temporary, crops)
        model = onnx.load(temporary)
        _strip_traces(model)
        stated = {
            **metadata,
            "opset": str(OPSET),
            "torch": torch.__version__,
            "parity_tolerance": f"{TOLERANCE:g}",
            "parity_probability": f"{parity.probability:.2e}",
            "parity_attention": f"{parity.attention:.2e}",
            "parity_samples": str(parity.samples),
        }
        onnx.helper.set_model_props(model, stated)
        onnx.save(model, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return parity


def _strip_traces(model: Any) -> None:
    """Remove what the exporter noted of the machine and the code: paths, and stack traces of every node."""
    graph = model.graph
    noted = (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in noted:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _write(wrapped: nn.Module, example: Tensor, path: Path) -> None:
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            wrapped,
            (example,),
            path,
            input_names=[INPUT],
            output_names=list(OUTPUTS),
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _quiet() -> Iterator[None]:
    # The exporter narrates what it does and warns of its own deprecations: neither is for our user.
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _compare(wrapped: nn.Module, path: Path, crops: NDArray[np.float32]) -> Parity:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with torch.no_grad():
        expected = [output.numpy() for output in wrapped(torch.from_numpy(crops))]
    found: list[Any] = session.run(list(OUTPUTS), {INPUT: crops})
    # One crop alone as well: a graph that has frozen the batch size it was traced with would pass otherwise.
    alone: list[Any] = session.run(list(OUTPUTS), {INPUT: crops[:1]})
    differences = [
        max(float(np.abs(b - a).max()), float(np.abs(c - a[:1]).max()))
        for a, b, c in zip(expected, found, alone, strict=True)
    ]
    if not all(difference < TOLERANCE for difference in differences):
        raise ContractError(
            f"the exported model differs from its network: probability by {differences[0]:.2e}, "
            f"attention by {differences[1]:.2e}, allowed {TOLERANCE:g}",
            "the network uses an operation that ONNX computes otherwise: report it with the model's card",
        )
    return Parity(differences[0], differences[1], len(crops))
