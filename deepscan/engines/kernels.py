"""Fit the kernels of a network with depthwise convolutions to 8 bits with the least change of its scores."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepscan.engines.engine import Arrays
from deepscan.onnx_session import open_session

Floats = NDArray[np.float64]

#: Largest weight in 8 bits. The sum of two neighbours in a channel is at most LARGEST + 1, so that processors
#: that add the products of such pairs in 16 bits never saturate (255 * 128 < 2**15).
LARGEST = 127
#: Share of the mean variance added to each input's variance, because a layer's inputs are correlated.
DAMPING = 0.003
#: Maximum number of output positions of a crop that a layer is fitted to.
_POSITIONS = 1024


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of an ONNX graph.

    Attributes:
        name: Name of the node.
        weight: Name of the kernel, shape (O, I, K, K), or (O, 1, K, K) if depthwise.
        bias: Name of the bias, shape (O,).
        input: Name of the input, shape (N, I, H, W).
        output: Name of the output.
        side: Side K of the kernel.
        depthwise: Whether each channel has its own kernel.
        pads: Rows and columns added at the top, left, bottom, right.
        strides: Strides of the kernel, vertical and horizontal.
    """

    name: str
    weight: str
    bias: str
    input: str
    output: str
    side: int
    depthwise: bool
    pads: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def pointwise(self) -> bool:
        """Whether it is a 1x1 convolution over all channels."""
        return self.side == 1 and not self.depthwise

    def windows(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the kernel's windows into an input (1, I, H, W) at P positions, shape (I, P, K * K)."""
        top, left, bottom, right = self.pads
        padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
        down, across = self.strides
        views = np.lib.stride_tricks.sliding_window_view(padded, (self.side, self.side), axis=(1, 2))
        windows = views[:, ::down, ::across].reshape(len(views), -1, self.side**2)
        return windows[:, :: max(1, windows.shape[1] // _POSITIONS)]


def layers_of(model: Any) -> list[Layer]:
    """Return the convolutions of an ONNX model that have a constant kernel and bias, in order.

    Args:
        model: An `onnx.ModelProto`.
    """
    kernels = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    layers = []
    for node in model.graph.node:
        if node.op_type != "Conv" or len(node.input) < 3 or not {*node.input[1:]} <= set(kernels):
            continue
        attributes = {attribute.name: attribute for attribute in node.attribute}
        groups = attributes["group"].i if "group" in attributes else 1
        shape = kernels[node.input[1]]
        if groups not in (1, shape[0]):
            continue
        pads = tuple(attributes["pads"].ints) if "pads" in attributes else (0, 0, 0, 0)
        strides = tuple(attributes["strides"].ints) if "strides" in attributes else (1, 1)
        source, weight, bias = node.input[:3]
        layers.append(
            Layer(
                node.name,
                weight,
                bias,
                source,
                node.output[0],
                shape[-1],
                1 < groups == shape[0],
                pads,
                strides,
            )
        )
    return layers


def equalise(model: Any, inputs: Sequence[Arrays], scratch: Path) -> None:
    """Equalise the ranges of channels between linear layers in place; the network's outputs do not change.

    A channel that only convolutions write and read, and additions join, can be divided by a number where it
    is written and multiplied by it where it is read (Nagel et al. 2019, Data-Free Quantization Through Weight
    Equalization and Bias Correction, section 4.1). The number is the square root of the channel's range; the
    whole range would only move the problem to the kernels that read the channel.

    Args:
        model: An `onnx.ModelProto` in float32.
        inputs: Inputs of the network, one crop each.
        scratch: Folder for temporary files.
    """
    streams = list(_streams(model))
    names = list(chain.from_iterable(names for names, _, _ in streams))
    ranges = dict.fromkeys(names, np.float32(0.0))
    for values in _outputs(model, names, inputs, scratch):
        for name, value in zip(names, values, strict=True):
            ranges[name] = np.maximum(ranges[name], np.abs(value).max((0, 2, 3)))
    weights = _Initialisers(model)
    for tensors, writers, readers in streams:
        largest = np.maximum(np.max([ranges[name] for name in tensors], axis=0), 1e-6)
        factors = np.sqrt(largest / np.exp(np.log(largest).mean()))
        for layer in writers:
            weights[layer.weight] = weights[layer.weight] / factors[:, None, None, None]
            weights[layer.bias] = weights[layer.bias] / factors
        for layer in readers:
            weights[layer.weight] = weights[layer.weight] * factors[:, None, None]


def _streams(model: Any) -> Iterator[tuple[list[str], list[Layer], list[Layer]]]:
    """Yield the names of tensors that share channels, the layers that write them and those that read them.

    Additions join them; all writers and readers are pointwise convolutions.
    """
    pointwise = {layer.name: layer for layer in layers_of(model) if layer.pointwise}
    writers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    joined: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.op_type == "Add" and all(name in writers for name in node.input):
            names = set(chain.from_iterable(joined.get(name, {name}) for name in (*node.input, *node.output)))
            joined.update(dict.fromkeys(names, names))
        elif node.name in pointwise:
            joined.setdefault(node.output[0], {node.output[0]})
    for group in {id(names): names for names in joined.values()}.values():
        written_by = [writers[name] for name in sorted(group)]
        read_by = [node for name in sorted(group) for node in readers.get(name, ())]
        if all(node.op_type == "Add" or node.name in pointwise for node in (*written_by, *read_by)):
            layers = (
                {node.name: pointwise[node.name] for node in nodes if node.name in pointwise}
                for nodes in (written_by, read_by)
            )
            writing, reading = (list(named.values()) for named in layers)
            if reading:
                yield sorted(group), writing, reading


def round_kernels(
    model: Any, layers: Sequence[Layer], inputs: Sequence[Arrays], scratch: Path
) -> dict[str, NDArray[np.float32]]:
    """Round kernels to 8 bits in place, with the least change of each layer's output.

    The error of rounding a weight is compensated by the weights of its kernel that are not rounded yet, given
    the layer's inputs (Frantar et al. 2023, GPTQ, algorithm 1).

    Args:
        model: An `onnx.ModelProto` in float32.
        layers: Layers to round.
        inputs: Inputs of the network, one crop each.
        scratch: Folder for temporary files.

    Returns:
        Name of a kernel -> size of a step in each channel, shape (O,). Each weight is an integer multiple of
        it, from -127 to 127.
    """
    weights = _Initialisers(model)
    moments: dict[str, Floats] = {}
    for values in _outputs(model, [layer.input for layer in layers], inputs, scratch):
        for layer, value in zip(layers, values, strict=True):
            windows = layer.windows(value)
            if not layer.depthwise:
                windows = np.ascontiguousarray(windows.transpose(1, 0, 2).reshape(1, windows.shape[1], -1))
            product = np.matmul(windows.transpose(0, 2, 1), windows).astype(np.float64)
            moments[layer.name] = moments.get(layer.name, np.float64(0.0)) + product
    steps = {}
    for layer in layers:
        kernel = weights[layer.weight].astype(np.float64)
        flat = kernel.reshape(len(kernel), -1)
        size = _step_sizes(flat, layer.pointwise or layer.depthwise, layer.pointwise)
        rounded = round_rows(flat, moments[layer.name], size, layer.pointwise)
        weights[layer.weight] = (rounded * size[:, None]).reshape(kernel.shape).astype(np.float32)
        steps[layer.weight] = size.astype(np.float32)
    return steps


def _step_sizes(rows: Floats, whole: bool, paired: bool) -> Floats:
    """Return each row's step size, shape (O,); only half of the range is used if not `whole`."""
    largest = np.abs(rows).max(axis=1)
    if paired:
        even = np.pad(np.abs(rows), ((0, 0), (0, rows.shape[1] % 2)))
        largest = even.reshape(len(rows), -1, 2).sum(axis=2).max(axis=1)
    sizes: Floats = np.maximum(largest / (LARGEST if whole else LARGEST // 2), 1e-8)
    return sizes.astype(np.float32).astype(np.float64)


def round_rows(rows: Floats, moments: Floats, steps: Floats, paired: bool) -> Floats:
    """Round rows of weights to integer steps, column by column, those with the strongest inputs first.

    Args:
        rows: Weights, shape (O, K).
        moments: Sums of the products of every two inputs, shape (1, K, K), or (O, K, K) if rows have
            different inputs.
        steps: Step sizes, shape (O,).
        paired: Whether neighbours (0 and 1, 2 and 3, ...) are limited together, see `LARGEST`.

    Returns:
        Integers as float64, shape (O, K).
    """
    left, width = rows.astype(np.float64), rows.shape[1]
    order = np.argsort(-np.einsum("okk->k", moments), kind="stable")
    left, moments = left[:, order], moments[:, order][:, :, order]
    damping = np.einsum("okk->o", moments) * DAMPING / width + 1e-9
    factors = np.linalg.cholesky(np.linalg.inv(moments + damping[:, None, None] * np.eye(width)))
    rounded = np.zeros_like(left)
    index_of = {int(column): index for index, column in enumerate(order)}
    for index, column in enumerate(order):
        limit = np.full(len(rows), float(LARGEST))
        neighbour = index_of.get(int(column) ^ 1, index)
        if paired and neighbour < index:
            limit = np.minimum(limit, LARGEST + 1 - np.abs(rounded[:, neighbour]))
        rounded[:, index] = np.clip(np.rint(left[:, index] / steps), -limit, limit)
        error = (left[:, index] - rounded[:, index] * steps) / factors[:, index, index]
        left[:, index + 1 :] -= error[:, None] * factors[:, index + 1 :, index]
    return rounded[:, np.argsort(order)]


def _outputs(
    model: Any, names: Sequence[str], inputs: Sequence[Arrays], scratch: Path
) -> Iterator[list[NDArray[np.float32]]]:
    """Yield some tensors of a model for each crop."""
    import onnx

    if not names:
        return
    copied = copy.deepcopy(model)
    del copied.graph.output[:]
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    path = scratch / "outputs.onnx"
    onnx.save(copied, path)
    session = open_session(path)
    for arrays in inputs:
        yield session.run(list(names), dict(arrays))


class _Initialisers:
    """Reads and replaces a model's initialisers by name."""

    def __init__(self, model: Any) -> None:
        self._tensors: Mapping[str, Any] = {tensor.name: tensor for tensor in model.graph.initializer}

    def __getitem__(self, name: str) -> NDArray[Any]:
        from onnx import numpy_helper

        array: NDArray[Any] = numpy_helper.to_array(self._tensors[name])
        return array

    def __setitem__(self, name: str, array: NDArray[Any]) -> None:
        from onnx import numpy_helper

        kind = self[name].dtype
        self._tensors[name].CopyFrom(numpy_helper.from_array(array.astype(kind), name))
