"""Writes the network of `train_looks.py` as ONNX, with kernels in 8 bits."""

from typing import Any

import numpy as np
import onnx
from looks_teacher import BLOCKS, MEAN, SCALE, FaceNetwork
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from deepscan.faces.looks import SIDE


def exported(network: FaceNetwork) -> onnx.ModelProto:
    """Return the network as ONNX, its kernels in 8 bits: pixels (n, 150, 150, 3), uint8, to looks (n, d).

    ONNX Runtime unpacks them when it opens the file, and computes in float32.
    """
    nodes, constants = [], []

    def constant(name: str, values: NDArray[Any]) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(kind: str, output: str, *inputs: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, list(inputs), [output], output, **attributes))
        return output

    def packed(name: str, weights: NDArray[np.float64]) -> str:
        scale = np.abs(weights.reshape(len(weights), -1)).max(axis=1) / 127
        scale = np.maximum(scale, 1e-12).reshape(-1, *[1] * (weights.ndim - 1))
        levels = constant(f"{name}.levels", np.round(weights / scale).astype(np.int8))
        node("Cast", f"{name}.whole", levels, to=TensorProto.FLOAT)
        return node(
            "Mul", f"{name}.weight", f"{name}.whole", constant(f"{name}.scale", scale.astype(np.float32))
        )

    def convolve(name: str, maps: str, layer: nn.Module, point: bool = False) -> str:
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        weights, bias = (part.detach().double().numpy() for part in (layer.weight, layer.bias))
        if name == "stem":
            weights = weights / SCALE
            bias = bias - (weights * np.reshape(MEAN, (1, 3, 1, 1))).sum(axis=(1, 2, 3))
        side, stride, pad = layer.kernel_size[0], layer.stride[0], int(layer.padding[0])
        if point:
            # Of a single place, padded, the middle of the kernel is all that counts.
            weights, side, pad = weights[:, :, pad : pad + 1, pad : pad + 1], 1, 0
        inputs = packed(name, weights), constant(f"{name}.bias", bias.astype(np.float32))
        return node(
            "Conv", name, maps, *inputs, kernel_shape=[side] * 2, strides=[stride] * 2, pads=[pad] * 4
        )

    node("Cast", "levels", "pixels", to=TensorProto.FLOAT)
    node("Transpose", "planes", "levels", perm=[0, 3, 1, 2])
    node("Relu", "lit", convolve("stem", "planes", network.stem))
    maps = node("MaxPool", "start", "lit", kernel_shape=[3, 3], strides=[2, 2])
    side = (((SIDE - 7) // 2 + 1) - 3) // 2 + 1
    for k, (block, (before, behind, halved)) in enumerate(zip(network.blocks, BLOCKS, strict=True)):
        own = (side - 3) // 2 + 1 if halved else side
        inner = node("Relu", f"inner{k}", convolve(f"first{k}", maps, block.get_submodule("first")))
        made = convolve(f"second{k}", inner, block.get_submodule("second"), own == 1)
        if halved:
            side //= 2
            maps = node("AveragePool", f"halved{k}", maps, kernel_shape=[2, 2], strides=[2, 2])
            if behind > before:
                more = constant(f"more{k}", np.array([0, 0, 0, 0, 0, behind - before, 0, 0], np.int64))
                maps = node("Pad", f"wider{k}", maps, more)
            if side > own:
                rim = constant(f"rim{k}", np.array([0, 0, 0, 0, 0, 0, side - own, side - own], np.int64))
                made = node("Pad", f"larger{k}", made, rim)
        maps = node("Relu", f"block{k}", node("Add", f"sum{k}", maps, made))
    node("ReduceMean", "mean", maps, axes=[2, 3], keepdims=0)
    head = packed("head", network.head.weight.detach().double().numpy())
    bias = constant("head.bias", network.head.bias.detach().float().numpy())
    node("Gemm", "looks", "mean", head, bias, transB=1)
    graph = helper.make_graph(
        nodes,
        "looks",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["n", SIDE, SIDE, 3])],
        [helper.make_tensor_value_info("looks", TensorProto.FLOAT, ["n", network.head.out_features])],
        constants,
    )
    # Not above what older releases of ONNX Runtime read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=7)
    onnx.checker.check_model(model, full_check=True)
    return model
