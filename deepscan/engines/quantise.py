"""Quantisation: write an ONNX file whose large convolutions and matrix products run in 8 bits."""

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
#: Kernels and matrices with fewer weights stay in float32. Rounding does most harm in the first layers and in
#: the last one, which are small and so cost little time in float32.
LEAST = 2**14
#: In a network with depthwise convolutions, the first layers stay in float32 while their kernels are smaller
#: than this, because their rounding errors pass through all later layers.
FIRST = 2**11
#: Percentages of an activation's values that its 8 bits may cover. Values outside are clipped; covering
#: outliers makes the 256 steps coarser. The best one depends on the network, so each is tried.
COVERED = (99.99, 99.999, 100.0)
#: One in this many crops is used to measure ranges, the others to measure how far scores move.
RANGED = 4
#: Batch size for scores. Ranges are measured crop by crop, because the outputs of every layer are in memory:
#: 0.6 GB for a crop in a ViT-L.
_BATCH = 8
#: Operators that can be quantised.
KINDS = ("Conv", "MatMul", "Gemm")
#: Operators between convolutions that are quantised too in a network with depthwise convolutions.
BETWEEN = ("Add", "Clip")


def quantise(card: ModelCard, preprocess: Preprocessor, crops: NDArray[np.uint8]) -> ModelFile:
    """Write a model's ONNX file in 8 bits, next to the original, and return its entry for the card.

    Weights get a scale for each channel, activations one for each tensor, from their ranges on some of the
    crops. Of the ranges in `COVERED`, the one is used whose scores on the other crops have the smallest mean
    difference from float32. Outputs of products, and everything that is not a convolution or a product with
    weights, stay in float32. Weights use 7 of the 8 bits: processors that add such products in pairs in 16
    bits would saturate on larger ones, and give other scores. Scales are fixed rather than measured in each
    batch, so that a crop's score does not depend on the rest of its batch.

    A network with depthwise convolutions is quantised completely after its first layers, including additions
    and clips. A depthwise layer has few weights but costs as much as others, and float32 between two layers
    in 8 bits costs a conversion each way. Its kernels are fitted to the crops, see `engines.kernels`.

    Args:
        card: The model, with an `onnx` file.
        preprocess: Makes the network's inputs from crops.
        crops: Some hundred typical crops, shape (N, S, S, 3), uint8.

    Raises:
        MissingError: The model has no `onnx` file, or the file is missing.
        UsageError: The model has no layer that is large enough.
    """
    import onnx

    ranged, rest = crops[::RANGED], np.delete(crops, np.s_[::RANGED], axis=0)
    path = card.folder / INT8_GRAPH
    expected = _scores(open_session(card.path("onnx")), preprocess, rest)
    with tempfile.TemporaryDirectory() as scratch, quiet():
        prepared, quantised = Path(scratch) / "prepared.onnx", Path(scratch) / "quantised.onnx"
        shapes = import_onnxruntime("quantization.shape_inference")
        shapes.quant_pre_process(str(card.path("onnx")), str(prepared), skip_symbolic_shape=True)
        nodes = _large(onnx.load(prepared))
        if not nodes:
            raise UsageError(
                f"model {card.name!r} has no layer with {LEAST} weights or more",
                "keep fp32: 8 bits would save no time",
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
        differences: dict[bytes, float] = {}
        for covered in COVERED:
            _write(prepared, quantised, nodes, steps, _Crops(preprocess, ranged), covered)
            differences[quantised.read_bytes()] = float(
                np.abs(_scores(open_session(quantised), preprocess, rest) - expected).mean()
            )
        path.write_bytes(min(differences, key=lambda content: differences[content]))
    golden = _scores(open_session(path), preprocess, golden_crops(preprocess.crop.input_side))
    return ModelFile(INT8_GRAPH, sha256_of(path), golden=round(float(golden.mean()), 6))


def _large(model: Any) -> list[str]:
    """Return the names of the nodes whose kernel or matrix has at least `LEAST` weights."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    return [
        node.name
        for node in model.graph.node
        if node.op_type in KINDS and sizes.get(node.input[1], 0) >= LEAST
    ]


def _first(model: Any, layers: Sequence[Layer]) -> list[Layer]:
    """Return the convolutions before the first kernel with at least `FIRST` weights."""
    sizes = {tensor.name: math.prod(tensor.dims) for tensor in model.graph.initializer}
    return list(takewhile(lambda layer: sizes[layer.weight] < FIRST, layers))


def _chained(model: Any, nodes: Sequence[str], kept: AbstractSet[str]) -> list[str]:
    """Return the names of all convolutions except `kept`, of operators between them, and of `nodes`."""
    chained: dict[str, str] = {}
    for node in model.graph.node:
        between = node.op_type in BETWEEN and node.input[0] in chained
        if between or (node.op_type == "Conv" and node.name not in kept):
            chained[node.output[0]] = node.name
    return list(dict.fromkeys([*chained.values(), *nodes]))


def _write(
    prepared: Path,
    quantised: Path,
    nodes: Sequence[str],
    steps: Mapping[str, NDArray[np.float32]],
    crops: "_Crops",
    covered: float,
) -> None:
    quantization = import_onnxruntime("quantization")
    kind, zero = quantization.QuantType.QInt8, np.int8(0)
    quantization.quantize_static(
        str(prepared),
        str(quantised),
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
            # Crop by crop; despite its name it applies to histograms too.
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
    """Data reader for ONNX Runtime's calibration: the inputs of one crop at a time."""

    def __init__(self, preprocess: Preprocessor, crops: NDArray[np.uint8]) -> None:
        self._preprocess, self._crops = preprocess, crops
        self._todo: Iterator[int] = iter(range(len(crops)))

    def __len__(self) -> int:
        return len(self._crops)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Restrict the reader to the crops from `start_index` to before `end_index`."""
        self._todo = iter(range(start_index, end_index))

    def get_next(self) -> Arrays | None:
        """Return the inputs of the next crop, None after the last."""
        index = next(self._todo, None)
        return None if index is None else dict(self._preprocess(self._crops[index : index + 1]))
