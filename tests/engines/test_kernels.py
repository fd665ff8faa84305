"""Kernels in 8 bits: what layers give moves less than by rounding alone, and no processor's sums overflow."""

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
    # Ranges of channels lie far apart, as they do in a trained network.
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

    def conv(name, source, output, **given):
        return helper.make_node("Conv", [source, f"{name}.w", f"{name}.b"], [output], name, **given)

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
    graph = helper.make_graph(nodes, "made", values[:1], values[1:], arrays)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made)
    return made


@pytest.fixture
def inputs():
    rng = np.random.default_rng(5)
    return [{"crops": rng.uniform(0.2, 1, (1, 3, SIDE, SIDE)).astype(np.float32)} for _ in range(6)]


def _run(model, inputs, folder):
    path = folder / "run.onnx"
    onnx.save(model, path)
    session = open_session(path)
    return np.stack([session.run(None, given)[0] for given in inputs])


def _plain(model):
    """Return the model with each kernel rounded by itself, its neighbours free."""
    made = copy.deepcopy(model)
    for tensor in made.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 4:
            step = np.abs(array).reshape(len(array), -1).max(1)[:, None, None, None] / LARGEST
            tensor.CopyFrom(
                numpy_helper.from_array((np.rint(array / step) * step).astype(np.float32), tensor.name)
            )
    return made


def test_layers_say_what_they_are(model):
    layers = {layer.name: layer for layer in layers_of(model)}
    assert list(layers) == ["enter", "widen", "depth", "narrow", "skip", "last"]
    assert [name for name, layer in layers.items() if layer.depthwise] == ["depth"]
    depth = layers["depth"]
    assert (depth.input, depth.output, depth.pads, depth.strides) == ("c", "d", (0, 0, 1, 1), (2, 2))


def test_windows_are_what_the_kernel_sees(model):
    (depth,) = [layer for layer in layers_of(model) if layer.depthwise]
    x = np.random.default_rng(0).normal(size=(1, 12, 6, 6)).astype(np.float32)
    seen = depth.windows(x)
    assert seen.shape == (12, 9, 9)
    padded = np.pad(x[0], ((0, 0), (0, 1), (0, 1)))
    # The second place of the second row of places: two rows down, two columns across.
    assert np.array_equal(seen[4, 4], padded[4, 2:5, 2:5].ravel())


def test_equal_ranges_change_nothing_that_the_network_gives(model, inputs, tmp_path):
    before, former = _run(model, inputs, tmp_path), copy.deepcopy(model)
    equalise(model, inputs, tmp_path)
    after = _run(model, inputs, tmp_path)
    # Of sums of some ten products in float32.
    assert np.allclose(after, before, rtol=1e-4, atol=1e-3)

    def spread(graph):
        kernel = next(
            numpy_helper.to_array(tensor) for tensor in graph.initializer if tensor.name == "narrow.w"
        )
        sizes = np.abs(kernel).reshape(CHANNELS, -1).max(1)
        return sizes.max() / sizes.min()

    assert spread(model.graph) < spread(former.graph) / 4


def test_kernels_are_whole_steps_and_move_the_network_less_than_rounding_alone(model, inputs, tmp_path):
    exact = _run(model, inputs, tmp_path)
    plain = np.abs(_run(_plain(model), inputs, tmp_path) - exact).mean()
    fitted = copy.deepcopy(model)
    layers = layers_of(model)
    steps = round_kernels(fitted, layers, inputs, tmp_path)
    assert set(steps) == {layer.weight for layer in layers}
    for tensor in fitted.graph.initializer:
        if tensor.name in steps:
            whole = numpy_helper.to_array(tensor) / steps[tensor.name][:, None, None, None]
            assert np.allclose(whole, np.rint(whole), atol=1e-3)
            assert np.abs(whole).max() < LARGEST + 0.5
    # Though its steps are coarser: those of `_plain` leave neighbours free.
    assert np.abs(_run(fitted, inputs, tmp_path) - exact).mean() < 0.85 * plain


def test_neighbours_never_overflow_sixteen_bits():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(40, 21))
    rows[:, 6] = 3.0  # the largest of each row, beside one that grows as others are rounded
    inputs = rng.normal(size=(200, 21))
    inputs[:, 7] = inputs[:, 6] + 0.01 * inputs[:, 7]
    steps = np.abs(rows).max(axis=1) / LARGEST
    whole = round_rows(rows, (inputs.T @ inputs)[None], steps, paired=True)
    pairs = np.abs(np.pad(whole, ((0, 0), (0, 1)))).reshape(40, -1, 2).sum(axis=2)
    assert pairs.max() <= LARGEST + 1
    assert pairs.max() * 255 < 2**15
    alone = round_rows(rows, (inputs.T @ inputs)[None], steps, paired=False)
    assert np.abs(np.pad(alone, ((0, 0), (0, 1)))).reshape(40, -1, 2).sum(axis=2).max() > LARGEST + 1


def test_rounding_makes_up_for_itself():
    rng = np.random.default_rng(2)
    rows = rng.normal(size=(8, 16))
    # All inputs are nearly one, as behind a limit: plain rounding adds up, what is fitted does not.
    inputs = 1 + 0.05 * rng.normal(size=(500, 16))
    steps = np.abs(rows).max(axis=1) / 15
    fitted = round_rows(rows, (inputs.T @ inputs)[None], steps, paired=False) * steps[:, None]
    plain = np.rint(rows / steps[:, None]) * steps[:, None]
    moved = [np.abs(inputs @ (some - rows).T).mean() for some in (fitted, plain)]
    assert moved[0] < moved[1] / 2
