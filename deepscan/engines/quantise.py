"""Quantisation: an ONNX file whose convolutions and products run in 8 bits."""

import logging
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard, ModelFile, sha256_of
from deepscan.detectors.inputs import Inputs
from deepscan.engines.engine import Arrays
from deepscan.engines.golden import golden_crops
from deepscan.engines.onnx import open_session

#: Name of a model's quantised file.
GRAPH = "model.int8.onnx"


def quantise(card: ModelCard, inputs: Inputs, batches: Iterable[Arrays]) -> ModelFile:
    """Write a model's ONNX file again in 8 bits, beside the other, and return what a card states of it.

    Weights have a scale for each channel, activations one that covers what they reach on the given batches.
    Of the 8 bits of a weight 7 are used: a processor without instructions for sums of such products, adding
    them in pairs in 16 bits, would cut others off, and score otherwise than one that has them.

    Args:
        card: The model, with a file `onnx`.
        inputs: Makes the network's inputs of the golden crops.
        batches: Inputs such as the model will see, some hundred crops.

    Raises:
        MissingError: The model has no such file, or it is not there.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    path = card.folder / GRAPH
    logger = logging.getLogger()
    level = logger.level
    with tempfile.TemporaryDirectory() as scratch:
        prepared, made = Path(scratch) / "prepared.onnx", Path(scratch) / GRAPH
        # It recommends what has been done one line before.
        logger.setLevel(logging.ERROR)
        try:
            quant_pre_process(str(card.path("onnx")), str(prepared), skip_symbolic_shape=True)
            quantize_static(
                str(prepared),
                str(made),
                _Reader(batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            logger.setLevel(level)
        path.write_bytes(made.read_bytes())
    session = open_session(path)
    (score,) = session.run(["probability"], dict(inputs(golden_crops(inputs.crop.input_side))))
    return ModelFile(GRAPH, sha256_of(path), golden=round(float(score.mean()), 6))


class _Reader:
    """Batches, as the calibration asks for them."""

    def __init__(self, batches: Iterable[Arrays]) -> None:
        self._batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        """Return the next batch, None after the last."""
        batch = next(self._batches, None)
        return None if batch is None else dict(batch)
