"""A toy detector with a known score: the sigmoid of a bias plus the mean of the normalised crop."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from deepscan.cards import Calibration, Golden, ModelCard, ModelFile, sha256_of
from deepscan.crop_recipe import CropRecipe

CALIBRATION = Calibration("frame", "hand-made", 10, "by hand", temperature=1.0, no_evidence=0.3, fake=0.7)


def model(
    folder: Path,
    bias: float = 0.0,
    *,
    calibration: Calibration | None = CALIBRATION,
    golden: Golden | None = None,
    side: int = 64,
    explanation: bool = False,
) -> Path:
    """Write a model folder. A large bias makes every face fake, a very negative one makes none fake.

    With `explanation` the model also outputs `mean`, and `patches`: for each colour channel a map of the
    means over 16 x 16 pixels.
    """
    folder.mkdir(parents=True)
    crops = helper.make_tensor_value_info("crops", TensorProto.FLOAT, ["batch", 3, side, side])
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["batch"])
    nodes = [
        helper.make_node("ReduceMean", ["crops", "axes"], ["mean"], keepdims=0),
        helper.make_node("Add", ["mean", "bias"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["probability"]),
    ]
    constants = [
        helper.make_tensor("axes", TensorProto.INT64, [3], [1, 2, 3]),
        helper.make_tensor("bias", TensorProto.FLOAT, [], [bias]),
    ]
    outputs = [probability]
    if explanation:
        nodes += [
            helper.make_node("AveragePool", ["crops"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Reshape", ["pooled", "flat"], ["patches"]),
        ]
        constants.append(helper.make_tensor("flat", TensorProto.INT64, [3], [0, 3, -1]))
        outputs += [
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("patches", TensorProto.FLOAT, ["batch", 3, (side // 16) ** 2]),
        ]
    graph = helper.make_graph(nodes, "toy", [crops], outputs, constants)
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(built)
    onnx.save(built, str(folder / "model.onnx"))
    card = ModelCard(
        folder=folder,
        name=folder.name,
        method="qtfp",
        summary="a toy",
        license="Apache-2.0",
        files={"onnx": ModelFile("model.onnx", sha256_of(folder / "model.onnx"))},
        crop=CropRecipe(side=side),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        calibration=calibration,
        golden=golden,
    )
    (folder / "card.yaml").write_text(card.to_yaml(), encoding="utf-8")
    return folder


def expected(crops: np.ndarray, bias: float) -> np.ndarray:
    """Return the toy's scores by the same formula in double precision."""
    mean = ((crops.astype(np.float64) / 255 - 0.5) / 0.5).mean(axis=(1, 2, 3))
    return 1 / (1 + np.exp(-(mean + bias)))
