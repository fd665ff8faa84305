"""Quantisation: an ONNX file whose large convolutions and products run in 8 bits."""

import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.cards import ModelCard, ModelFile, sha256_of
from deepscan.detectors.preprocess import Preprocessor
from deepscan.engines.engine import Arrays
from deepscan.engines.golden import golden_crops
from deepscan.engines.kernels import Layer, equalise, layers_of, round_kernels
from deepscan.engines.quiet import quiet
from deepscan.errors import UsageError
from deepscan.offline import import_onnxruntime
from deepscan.onnx_session import open_session

#: Name of a model's quantised file.
INT8_GRAPH = "model.int8.onnx"
#: A kernel or matrix of fewer weights stays in float32. Rounding harms most in the layers that see the pixels
#: and in the last one, and these are small: they cost little time as they are.
LEAST = 2**14
#: In a network with depthwise convolutions, those from the pixels on stay in float32 as long as their kernels
#: are smaller than this: what they round goes through all others.
FIRST = 2**11
#: How much of an activation its 8 bits cover, in percent. What is left out is cut off; what is covered shares
#: 256 steps with the outliers. Which is best depends on the network, so each is tried.
COVERED = (99.99, 99.999, 100.0)
#: Of this many crops one measures the ranges, the others say how far scores move.
RANGED = 4
#: Crops that are scored at a time. Ranges are measured on one after the other: what every layer makes of it
#: is in memory, 0.6 GB a crop in a ViT-L.
_BATCH = 8
#: What can be quantised.
KINDS = ("Conv", "MatMul", "Gemm")
#: What else is, in a network with depthwise convolutions: what lies between them.
BETWEEN = ("Add", "Clip")


def quantise(card: ModelCard, preprocess: Preprocessor, crops: NDArray[np.uint8]) -> ModelFile:
    """Write a model's ONNX file again in 8 bits, beside the other, and return what a card states of it.

    Weights have a scale for each channel, activations one each, from their ranges on a part of the crops; of
    the ranges in `COVERED`, those are taken whose scores are nearest float32's in the mean on the rest. What
    comes out of a product stays in float32, as all does that is not a convolution or a product with weights.
    Of the 8 bits of a weight 7 are used: a processor without instructions for sums of such products, adding
    them in pairs in 16 bits, would cut others off, and score otherwise than one that has them. Scales are
    fixed, not measured anew in each batch: a crop's score does not depend on its neighbours.

    A network with depthwise convolutions is quantised whole behind its first layers, additions and limits as
    well. Such a layer has few weights and costs as much as others, and what stays in float32 between two
    layers in 8 bits costs a conversion each way. Its kernels are fitted to the crops: see `engines.kernels`.

    Args:
        card: The model, with a file `onnx`.
        preprocess: Makes the network's inputs of crops.
        crops: Such as the model will see, shape (N, S, S, 3), uint8, some hundred.

    Raises:
        MissingError: The model has no such file, or it is not there.
        UsageError: There is nothing in the model that is large enough.
    """
    import onnx

    ranged, rest = crops[::RANGED], np.delete(crops, np.s_[::RANGED], axis=0)
    path = card.folder / INT8_GRAPH
    expected = _scores(open_session(card.path("onnx")), preprocess, rest)
    with tempfile.TemporaryDirectory() as scratch, quiet():
        prepared, made = Path(scratch) / "prepared.onnx", Path(scratch) / "made.onnx"
        shapes = import_onnxruntime("quantization.shape_inference")
        shapes.quant_pre_process(str(card.path("onnx")), str(prepared), skip_symbolic_shape=True)
        nodes = _large(onnx.load(prepared))
        if not nodes:
            raise UsageError(
                f"model {card.name!r} has no layer of {LEAST} weights", "there is nothing to gain: keep fp32"
            )
        model, steps = onnx.load(prepared), {}
        layers = layers_of(model)
        if any(layer.depthwise for layer in layers):
            inputs = [dict(preprocess(crop[None])) for crop in ranged]
            first = _first(model, layers)
            nodes = _chained(model, nodes, {layer.name for layer in first})
            equalise(model, inputs, Path(scratch))
            steps = round_kernels(model, layers[len(first) :], inputs, Path(scratch))
            onnx.save(model, prepared)
        moved: dict[bytes, float] = {}
        for covered in COVERED:
            _write(prepared, made, nodes, steps, _Crops(preprocess, ranged), covered)
            moved[made.read_bytes()] = float(
                np.abs(_scores(open_session(made), preprocess, rest) - expected).mean()
            )
        path.write_bytes(min(moved, key=lambda written: moved[written]))
    golden = _scores(open_session(path), preprocess, golden_crops(preprocess.crop.input_side))
    return ModelFile(INT8_GRAPH, sha256_of(path), golden=round(float(golden.mean()), 6))


def _large(model: Any) -> list[str]:
    """Return the names of the nodes with a kernel or matrix of many weights."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in KINDS and sizes.get(node.input[1], 0) >= LEAST
    ]


def _first(model: Any, layers: Sequence[Layer]) -> list[Layer]:
    """Return the convolutions that come before the first kernel of some size."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    return list(takewhile(lambda layer: sizes[layer.weight] < FIRST, layers))


def _chained(model: Any, nodes: Sequence[str], kept: AbstractSet[str]) -> list[str]:
    """Return the names of the convolutions but for some, of what lies between them, and of some nodes."""
    chained: dict[str, str] = {}
    for node in model.graph.node:
        between = node.op_type in BETWEEN and node.input[0] in chained
        if between or (node.op_type == "Conv" and node.name not in kept):
            chained[node.output[0]] = node.name
    return list(dict.fromkeys([*chained.values(), *nodes]))


def _write(
    prepared: Path,
    made: Path,
    nodes: Sequence[str],
    steps: Mapping[str, NDArray[np.float32]],
    crops: "_Crops",
    covered: float,
) -> None:
    quantization = import_onnxruntime("quantization")
    kind, zero = quantization.QuantType.QInt8, np.int8(0)
    quantization.quantize_static(
        str(prepared),
        str(made),
        crops,
        quant_format=quantization.QuantFormat.QDQ,
        op_types_to_quantize=[*KINDS, *BETWEEN],
        nodes_to_quantize=list(nodes),
        per_channel=True,
        reduce_range=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=kind,
        calibrate_method=quantization.CalibrationMethod.Percentile,
        extra_options={
            "CalibPercentile": covered,
            "CalibTensorRangeSymmetric": False,
            # One crop after the other, in spite of its name for histograms as well.
            "CalibStridedMinMax": 1,
            "OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"],
            "TensorQuantOverrides": {
                name: [{"axis": 0, "scale": step, "zero_point": zero, "quant_type": kind} for step in sizes]
                for name, sizes in steps.items()
            },
        },
    )


def _scores(session: Any, preprocess: Preprocessor, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = np.array_split(crops, math.ceil(len(crops) / _BATCH))
    return np.concatenate([session.run(["probability"], dict(preprocess(part)))[0] for part in parts])


class _Crops:
    """The inputs of one crop after the other, as the calibration asks for them."""

    def __init__(self, preprocess: Preprocessor, crops: NDArray[np.uint8]) -> None:
        self._preprocess, self._crops = preprocess, crops
        self._todo: Iterator[int] = iter(range(len(crops)))

    def __len__(self) -> int:
        return len(self._crops)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin with one crop, and end before another."""
        self._todo = iter(range(start_index, end_index))

    def get_next(self) -> Arrays | None:
        """Return the inputs of the next crop, None after the last."""
        at = next(self._todo, None)
        return None if at is None else dict(self._preprocess(self._crops[at : at + 1]))
