"""Fits the kernels of a network with depthwise convolutions to 8 bits, so that its scores move least."""

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

#: Of a weight's 8 bits. Two neighbours in one channel stay within LARGEST + 1 together: a processor that adds
#: the products of such a pair in 16 bits never cuts them off (255 * 128 < 2**15).
LARGEST = 127
#: Part of the mean variance that is added to each input's: a layer's inputs depend on each other.
DAMPING = 0.003
#: Output positions of a crop that a layer is fitted to, at most.
_POSITIONS = 1024


@dataclass(frozen=True, slots=True)
class Layer:
    """A convolution of an ONNX graph.

    Attributes:
        name: Of its node.
        weight: Name of its kernel, shape (O, I, K, K); (O, 1, K, K) if it is depthwise.
        bias: Name of its bias, shape (O,).
        input: Name of what it reads, shape (N, I, H, W).
        output: Name of what it gives.
        side: K, of the kernel.
        depthwise: Whether each channel has a kernel of its own.
        pads: Rows and columns added above, left, below, right.
        strides: Of its kernel, down and across.
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
        """Whether it looks at one place at a time, and at all channels of it."""
        return self.side == 1 and not self.depthwise

    def windows(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what the kernel sees of an input (1, I, H, W) at P places, shape (I, P, K * K)."""
        top, left, bottom, right = self.pads
        padded = np.pad(x[0], ((0, 0), (top, bottom), (left, right)))
        down, across = self.strides
        seen = np.lib.stride_tricks.sliding_window_view(padded, (self.side, self.side), axis=(1, 2))
        seen = seen[:, ::down, ::across]
        seen = seen.reshape(len(seen), -1, self.side**2)
        return seen[:, :: max(1, seen.shape[1] // _POSITIONS)]


def layers_of(model: Any) -> list[Layer]:
    """Return the convolutions of an ONNX model, in order, that have a kernel and a bias of their own.

    Args:
        model: An `onnx.ModelProto`.
    """
    kernels = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        if node.op_type != "Conv" or len(node.input) < 3 or not {*node.input[1:]} <= set(kernels):
            continue
        given = {attribute.name: attribute for attribute in node.attribute}
        groups = given["group"].i if "group" in given else 1
        shape = kernels[node.input[1]]
        if groups not in (1, shape[0]):
            continue
        pads = tuple(given["pads"].ints) if "pads" in given else (0, 0, 0, 0)
        strides = tuple(given["strides"].ints) if "strides" in given else (1, 1)
        source, weight, bias = node.input[:3]
        found.append(
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
    return found


def equalise(model: Any, inputs: Sequence[Arrays], scratch: Path) -> None:
    """Bring the channels between linear layers to like ranges, in place; what the network gives stays.

    A channel that only convolutions make and read, and additions join, can be divided by a number where it
    is made and multiplied by it where it is read (Nagel et al. 2019, Data-Free Quantization Through Weight
    Equalization and Bias Correction, section 4.1). Here that is the square root of the channel's range: all
    of it would only move the trouble to the kernels that read the channel.

    Args:
        model: An `onnx.ModelProto` in float32.
        inputs: Of the network, one crop each.
        scratch: Folder for files that are read again.
    """
    streams = list(_streams(model))
    names = list(chain.from_iterable(names for names, _, _ in streams))
    ranges = dict.fromkeys(names, np.float32(0.0))
    for values in _outputs(model, names, inputs, scratch):
        for name, value in zip(names, values, strict=True):
            ranges[name] = np.maximum(ranges[name], np.abs(value).max((0, 2, 3)))
    weights = _Initialisers(model)
    for own, makers, readers in streams:
        spread = np.maximum(np.max([ranges[name] for name in own], axis=0), 1e-6)
        factors = np.sqrt(spread / np.exp(np.log(spread).mean()))
        for layer in makers:
            weights[layer.weight] = weights[layer.weight] / factors[:, None, None, None]
            weights[layer.bias] = weights[layer.bias] / factors
        for layer in readers:
            weights[layer.weight] = weights[layer.weight] * factors[:, None, None]


def _streams(model: Any) -> Iterator[tuple[list[str], list[Layer], list[Layer]]]:
    """Yield names of tensors that share channels, the layers that make them and those that read them.

    They are joined by additions; makers and readers are pointwise convolutions, and nothing else reads them.
    """
    pointwise = {layer.name: layer for layer in layers_of(model) if layer.pointwise}
    makers = {name: node for node in model.graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    joined: dict[str, set[str]] = {}
    for node in model.graph.node:
        if node.op_type == "Add" and all(name in makers for name in node.input):
            names = set(chain.from_iterable(joined.get(name, {name}) for name in (*node.input, *node.output)))
            joined.update(dict.fromkeys(names, names))
        elif node.name in pointwise:
            joined.setdefault(node.output[0], {node.output[0]})
    for group in {id(names): names for names in joined.values()}.values():
        made = [makers[name] for name in sorted(group)]
        read = [node for name in sorted(group) for node in readers.get(name, ())]
        if all(node.op_type == "Add" or node.name in pointwise for node in (*made, *read)):
            chosen = (
                {node.name: pointwise[node.name] for node in some if node.name in pointwise}
                for some in (made, read)
            )
            writing, reading = (list(some.values()) for some in chosen)
            if reading:
                yield sorted(group), writing, reading


def round_kernels(
    model: Any, layers: Sequence[Layer], inputs: Sequence[Arrays], scratch: Path
) -> dict[str, NDArray[np.float32]]:
    """Round kernels to 8 bits in place, each so that what its layer gives moves least.

    What rounding a weight adds is taken off by the weights of its kernel that are not rounded yet, as far as
    what the layer sees of the inputs allows (Frantar et al. 2023, GPTQ, algorithm 1).

    Args:
        model: An `onnx.ModelProto` in float32.
        layers: Which to round.
        inputs: Of the network, one crop each.
        scratch: Folder for files that are read again.

    Returns:
        By name of the kernel, the size of a step in each channel, shape (O,): each weight is a whole number
        of these, from -127 to 127.
    """
    weights = _Initialisers(model)
    moments: dict[str, Floats] = {}
    for values in _outputs(model, [layer.input for layer in layers], inputs, scratch):
        for layer, value in zip(layers, values, strict=True):
            seen = layer.windows(value)
            if not layer.depthwise:
                seen = np.ascontiguousarray(seen.transpose(1, 0, 2).reshape(1, seen.shape[1], -1))
            product = np.matmul(seen.transpose(0, 2, 1), seen).astype(np.float64)
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
    """Return the size of a step of each row, shape (O,); only half the range is used if not `whole`."""
    largest = np.abs(rows).max(axis=1)
    if paired:
        even = np.pad(np.abs(rows), ((0, 0), (0, rows.shape[1] % 2)))
        largest = even.reshape(len(rows), -1, 2).sum(axis=2).max(axis=1)
    sizes: Floats = np.maximum(largest / (LARGEST if whole else LARGEST // 2), 1e-8)
    return sizes.astype(np.float32).astype(np.float64)


def round_rows(rows: Floats, moments: Floats, steps: Floats, paired: bool) -> Floats:
    """Return rows of weights in whole steps, rounded one by one, those of the strongest inputs first.

    Args:
        rows: Weights, shape (O, K).
        moments: Sums of the products of each two inputs, shape (1, K, K), or (O, K, K) where each row has
            its own.
        steps: Sizes of a step, shape (O,).
        paired: Whether neighbours, 0 and 1, 2 and 3, are limited together: see `LARGEST`.

    Returns:
        Whole numbers, shape (O, K).
    """
    left, width = rows.astype(np.float64), rows.shape[1]
    order = np.argsort(-np.einsum("okk->k", moments), kind="stable")
    left, moments = left[:, order], moments[:, order][:, :, order]
    weight = np.einsum("okk->o", moments) * DAMPING / width + 1e-9
    factors = np.linalg.cholesky(np.linalg.inv(moments + weight[:, None, None] * np.eye(width)))
    rounded = np.zeros_like(left)
    place = {int(column): index for index, column in enumerate(order)}
    for index, column in enumerate(order):
        limit = np.full(len(rows), float(LARGEST))
        neighbour = place.get(int(column) ^ 1, index)
        if paired and neighbour < index:
            limit = np.minimum(limit, LARGEST + 1 - np.abs(rounded[:, neighbour]))
        rounded[:, index] = np.clip(np.rint(left[:, index] / steps), -limit, limit)
        wrong = (left[:, index] - rounded[:, index] * steps) / factors[:, index, index]
        left[:, index + 1 :] -= wrong[:, None] * factors[:, index + 1 :, index]
    return rounded[:, np.argsort(order)]


def _outputs(
    model: Any, names: Sequence[str], inputs: Sequence[Arrays], scratch: Path
) -> Iterator[list[NDArray[np.float32]]]:
    """Yield what some nodes of a model give, for one crop after the other."""
    import onnx

    if not names:
        return
    cut = copy.deepcopy(model)
    del cut.graph.output[:]
    cut.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    path = scratch / "cut.onnx"
    onnx.save(cut, path)
    session = open_session(path)
    for given in inputs:
        yield session.run(list(names), dict(given))


class _Initialisers:
    """The arrays of a model by name, to be read and replaced."""

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
