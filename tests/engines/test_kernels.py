"""Kernels in 8 bits change outputs less than plain rounding, and sums in 16 bits never overflow."""

import copy

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deepscan.engines.kernels import LARGEST, equalise, layers_of, round_kernels, round_rows
from deepscan.onnx_session import open_session

SIDE, CHANNELS = 12, 6


def _array(name, values):
    return numpy_helper.from_array(np.asarray(values, dtype=np.float32), name)


@pytest.fixture
def model():
    """An inverted residual: pointwise, depthwise, pointwise, an addition, and a pointwise layer after it."""
    rng = np.random.default_rng(3)
    # Channels have very different ranges, as in a trained network.
    spread = np.array([0.05, 0.2, 1.0, 3.0, 10.0, 20.0])[:, None, None, None]
    shapes = {"widen": (12, CHANNELS, 1, 1), "depth": (12, 1, 3, 3), "last": (2, CHANNELS, 1, 1)}
    arrays = [
        _array("enter.w", rng.normal(size=(CHANNELS, 3, 1, 1)) * spread),
        _array("narrow.w", rng.normal(size=(CHANNELS, 12, 1, 1)) * spread),
        *(_array(f"{name}.w", rng.normal(size=shape)) for name, shape in shapes.items()),
        *(
            _array(f"{name}.b", rng.normal(size=width))
            for name, width in (
                ("enter", CHANNELS),
                ("widen", 12),
                ("depth", 12),
                ("narrow", CHANNELS),
                ("last", 2),
            )
        ),
        _array("zero", 0.0),
        _array("six", 6.0),
    ]

    def conv(name, source, output, **attributes):
        return helper.make_node("Conv", [source, f"{name}.w", f"{name}.b"], [output], name, **attributes)

    nodes = [
        conv("enter", "crops", "a"),
        conv("widen", "a", "b"),
        helper.make_node("Clip", ["b", "zero", "six"], ["c"]),
        conv("depth", "c", "d", group=12, pads=[0, 0, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["d", "zero", "six"], ["e"]),
        conv("narrow", "e", "f"),
        conv("skip", "a", "g", strides=[2, 2], pads=[0, 0, 0, 0]),
        helper.make_node("Add", ["f", "g"], ["h"]),
        conv("last", "h", "y"),
    ]
    arrays += [
        _array("skip.w", rng.normal(size=(CHANNELS, CHANNELS, 1, 1)) * spread),
        _array("skip.b", np.zeros(CHANNELS)),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("crops", [1, 3, SIDE, SIDE]), ("y", [1, 2, SIDE // 2, SIDE // 2]))
    ]
    graph = helper.make_graph(nodes, "residual", values[:1], values[1:], arrays)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(built)
    return built


@pytest.fixture
def inputs():
    rng = np.random.default_rng(5)
    return [{"crops": rng.uniform(0.2, 1, (1, 3, SIDE, SIDE)).astype(np.float32)} for _ in range(6)]


def _run(model, inputs, folder):
    path = folder / "run.onnx"
    onnx.save(model, path)
    session = open_session(path)
    return np.stack([session.run(None, arrays)[0] for arrays in inputs])


def _plain(model):
    """Return the model with plainly rounded kernels, without the limit on neighbours."""
    rounded = copy.deepcopy(model)
    for tensor in rounded.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 4:
            step = np.abs(array).reshape(len(array), -1).max(1)[:, None, None, None] / LARGEST
            tensor.CopyFrom(
                numpy_helper.from_array((np.rint(array / step) * step).astype(np.float32), tensor.name)
            )
    return rounded


def test_layers_describe_the_convolutions(model):
    layers = {layer.name: layer for layer in layers_of(model)}
    assert list(layers) == ["enter", "widen", "depth", "narrow", "skip", "last"]
    assert [name for name, layer in layers.items() if layer.depthwise] == ["depth"]
    depth = layers["depth"]
    assert (depth.input, depth.output, depth.pads, depth.strides) == ("c", "d", (0, 0, 1, 1), (2, 2))


def test_windows_are_the_kernels_inputs(model):
    (depth,) = [layer for layer in layers_of(model) if layer.depthwise]
    x = np.random.default_rng(0).normal(size=(1, 12, 6, 6)).astype(np.float32)
    windows = depth.windows(x)
    assert windows.shape == (12, 9, 9)
    padded = np.pad(x[0], ((0, 0), (0, 1), (0, 1)))
    # The second position of the second row: two rows down, two columns across.
    assert np.array_equal(windows[4, 4], padded[4, 2:5, 2:5].ravel())


def test_equalising_does_not_change_the_networks_outputs(model, inputs, tmp_path):
    before, original = _run(model, inputs, tmp_path), copy.deepcopy(model)
    equalise(model, inputs, tmp_path)
    after = _run(model, inputs, tmp_path)
    # Sums of about ten float32 products.
    assert np.allclose(after, before, rtol=1e-4, atol=1e-3)

    def spread(graph):
        kernel = next(
            numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "narrow.w"
        )
        sizes = np.abs(kernel).reshape(CHANNELS, -1).max(1)
        return sizes.max() / sizes.min()

    assert spread(model.graph) < spread(original.graph) / 4


def test_fitted_kernels_change_the_outputs_less_than_plain_rounding(model, inputs, tmp_path):
    exact = _run(model, inputs, tmp_path)
    plain = np.abs(_run(_plain(model), inputs, tmp_path) - exact).mean()
    fitted = copy.deepcopy(model)
    layers = layers_of(model)
    steps = round_kernels(fitted, layers, inputs, tmp_path)
    assert set(steps) == {layer.weight for layer in layers}
    for tensor in fitted.graph.initializer:
        if tensor.name in steps:
            integers = numpy_helper.to_array(tensor) / steps[tensor.name][:, None, None, None]
            assert np.allclose(integers, np.rint(integers), atol=1e-3)
            assert np.abs(integers).max() < LARGEST + 0.5
    # Although its steps are coarser, because `_plain` does not limit neighbours.
    assert np.abs(_run(fitted, inputs, tmp_path) - exact).mean() < 0.85 * plain


def test_pairs_of_neighbours_never_overflow_sixteen_bits():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 21))
    rows[:, 6] = 3.0  # the largest of each row; its neighbour grows as others are rounded
    inputs = rng.normal(size=(200, 21))
    inputs[:, 7] = inputs[:, 6] + 0.01 * inputs[:, 7]
    steps = np.abs(rows).max(axis=1) / LARGEST
    limited = round_rows(rows, (inputs.T @ inputs)[None], steps, paired=True)
    pairs = np.abs(np.pad(limited, ((0, 0), (0, 1)))).reshape(40, -1, 2).sum(axis=2)
    assert pairs.max() <= LARGEST + 1
    assert pairs.max() * 255 < 2**15
    free = round_rows(rows, (inputs.T @ inputs)[None], steps, paired=False)
    assert np.abs(np.pad(free, ((0, 0), (0, 1)))).reshape(40, -1, 2).sum(axis=2).max() > LARGEST + 1


def test_later_weights_compensate_rounding_errors():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(8, 16))
    # All inputs are nearly 1, as after a clip: errors of plain rounding add up, those of fitting do not.
    inputs = 1 + 0.05 * rng.normal(size=(500, 16))
    steps = np.abs(rows).max(axis=1) / 15
    fitted = round_rows(rows, (inputs.T @ inputs)[None], steps, paired=False) * steps[:, None]
    plain = np.rint(rows / steps[:, None]) * steps[:, None]
    errors = [np.abs(inputs @ (rounded - rows).T).mean() for rounded in (fitted, plain)]
    assert errors[0] < errors[1] / 2
