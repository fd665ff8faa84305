"""Convert facenet-pytorch's three MTCNN nets to ONNX, with the card and notice that ship beside them.

Run once in a checkout with the `torch` extra: python scripts/convert_mtcnn.py
Two runs write the same bytes: the graphs are put together here, node by node, not by an exporter.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from deepscan.cards import CARD, ModelCard, ModelFile, sha256_of

Weights = Mapping[str, NDArray[np.float32]]

SOURCE = "facenet-pytorch"
# 13 is the first opset whose Softmax normalises one axis alone, which P-Net's map of scores needs.
OPSET, IR_VERSION = 13, 7


@dataclass
class Graph:
    """An ONNX graph under construction; nodes are appended to the end of its trunk.

    Attributes:
        weights: Parameter name -> values, as in the torch module's state.
        trunk: Name of the tensor that the next layer reads.
    """

    weights: Weights
    trunk: str = "pixels"
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Keep values in the model under that name, and return the name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, kind: str, name: str, *inputs: str, **attributes: int | list[int]) -> str:
        """Append a node that reads the trunk and the inputs; it becomes the trunk."""
        node = helper.make_node(kind, [self.trunk, *inputs], [name], name, None, None, None, **attributes)
        self.nodes.append(node)
        self.trunk = name
        return name

    def normalise(self) -> None:
        """Turn pixels (n, h, w, 3) in 0..255 into planes (n, 3, h, w) in -1..1."""
        self.add("Sub", "centred", self.constant("middle", np.array(127.5, np.float32)))
        self.add("Mul", "normalised", self.constant("range", np.array(1 / 128, np.float32)))
        self.add("Transpose", "planes", perm=[0, 3, 1, 2])

    def conv(self, name: str) -> None:
        """Append an unpadded convolution of stride 1."""
        kernel = self.weights[f"{name}.weight"]
        self.add(
            "Conv",
            name,
            self.constant(f"{name}.weight", kernel),
            self.constant(f"{name}.bias", self.weights[f"{name}.bias"]),
            kernel_shape=list(kernel.shape[2:]),
        )

    def prelu(self, name: str, *, planes: bool = True) -> None:
        """Append a PReLU with one slope a channel, after planes or after a dense layer."""
        slope = self.weights[f"{name}.weight"]
        self.add("PRelu", name, self.constant(f"{name}.slope", slope[:, None, None] if planes else slope))

    def pool(self, name: str, side: int) -> None:
        """Append a max pooling of stride 2 that keeps a last window reaching past the edge."""
        self.add("MaxPool", name, kernel_shape=[side, side], strides=[2, 2], ceil_mode=1)

    def flatten(self) -> None:
        """Append the step from planes to a vector, in (channel, height, width) order."""
        self.add("Flatten", "flat", axis=1)

    def dense(self, name: str, planes: tuple[int, int, int] | None = None) -> None:
        """Append a fully connected layer.

        Args:
            name: Name of its parameters.
            planes: Channels, height and width that were flattened before it. The nets were trained on
                (width, height, channel) order, so the columns are put into the order of a plain Flatten.
        """
        matrix = self.weights[f"{name}.weight"]
        if planes:
            channels, height, width = planes
            matrix = matrix.reshape(-1, width, height, channels).transpose(0, 3, 2, 1)
            matrix = matrix.reshape(len(matrix), -1)
        weight = self.constant(f"{name}.weight", matrix)
        self.add("Gemm", name, weight, self.constant(f"{name}.bias", self.weights[f"{name}.bias"]), transB=1)

    def model(self, name: str, height: int | str, outputs: Mapping[str, tuple[int | str, ...]]) -> ModelProto:
        """Return the finished model.

        Args:
            name: Name of the graph.
            height: Side of the input in pixels, or a name for any.
            outputs: Tensor -> its shape.
        """
        width = "width" if height == "height" else height
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", height, width, 3])],
            [helper.make_tensor_value_info(key, TensorProto.FLOAT, list(s)) for key, s in outputs.items()],
            self.constants,
        )
        model = helper.make_model(
            graph,
            producer_name="deepscan",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        checker.check_model(model, full_check=True)
        return model


def heads(graph: Graph, layers: Mapping[str, str], kind: str) -> None:
    """Append the heads, each reading the same trunk; classes lie on the second axis of every score."""
    trunk = graph.trunk
    for output, layer in layers.items():
        graph.trunk = trunk
        getattr(graph, kind)(layer)
        if output == "score":
            graph.add("Softmax", output, axis=1)
        else:
            graph.add("Identity", output)


def pnet(weights: Weights) -> ModelProto:
    """Return P-Net: pixels (n, h, w, 3) -> score (n, 2, ceil((h - 2) / 2) - 4, ...), offset (n, 4, ...)."""
    graph = Graph(weights)
    graph.normalise()
    graph.conv("conv1")
    graph.prelu("prelu1")
    graph.pool("pool1", 2)
    for k in (2, 3):
        graph.conv(f"conv{k}")
        graph.prelu(f"prelu{k}")
    heads(graph, {"score": "conv4_1", "offset": "conv4_2"}, "conv")
    shapes = {"score": ("n", 2, "rows", "columns"), "offset": ("n", 4, "rows", "columns")}
    return graph.model("pnet", "height", shapes)


def rnet(weights: Weights) -> ModelProto:
    """Return R-Net: pixels (n, 24, 24, 3) -> score (n, 2), offset (n, 4)."""
    graph = Graph(weights)
    graph.normalise()
    for k, pool in ((1, 3), (2, 3), (3, 0)):
        graph.conv(f"conv{k}")
        graph.prelu(f"prelu{k}")
        if pool:
            graph.pool(f"pool{k}", pool)
    graph.flatten()
    graph.dense("dense4", (64, 3, 3))
    graph.prelu("prelu4", planes=False)
    heads(graph, {"score": "dense5_1", "offset": "dense5_2"}, "dense")
    return graph.model("rnet", 24, {"score": ("n", 2), "offset": ("n", 4)})


def onet(weights: Weights) -> ModelProto:
    """Return O-Net: pixels (n, 48, 48, 3) -> score (n, 2), offset (n, 4), points (n, 10): five x, five y."""
    graph = Graph(weights)
    graph.normalise()
    for k, pool in ((1, 3), (2, 3), (3, 2), (4, 0)):
        graph.conv(f"conv{k}")
        graph.prelu(f"prelu{k}")
        if pool:
            graph.pool(f"pool{k}", pool)
    graph.flatten()
    graph.dense("dense5", (128, 3, 3))
    graph.prelu("prelu5", planes=False)
    heads(graph, {"score": "dense6_1", "offset": "dense6_2", "points": "dense6_3"}, "dense")
    return graph.model("onet", 48, {"score": ("n", 2), "offset": ("n", 4), "points": ("n", 10)})


def read_weights(name: str) -> Weights:
    """Return one net's parameters from the installed facenet-pytorch, without running its code."""
    import torch

    path = distribution(SOURCE).locate_file(f"facenet_pytorch/data/{name}.pt")
    state = torch.load(str(path), map_location="cpu", weights_only=True)
    return {key: value.numpy().astype(np.float32) for key, value in state.items()}


def card(folder: Path, names: tuple[str, ...], version: str) -> ModelCard:
    """Return the card of the converted nets, their hashes taken from the files written."""
    return ModelCard(
        folder=folder,
        name="mtcnn",
        method="mtcnn",
        summary="Face finder: boxes and five landmarks by a cascade of three small networks",
        license="MIT",
        files={name: ModelFile(f"{name}.onnx", sha256_of(folder / f"{name}.onnx")) for name in names},
        trained={
            "origin": "Zhang et al., Joint Face Detection and Alignment Using Multitask Cascaded "
            "Convolutional Networks, IEEE Signal Processing Letters 23(10), 2016",
            "data": "WIDER FACE and CelebA, as the paper states; not retrained here",
            "source": f"{SOURCE} {version} (github.com/timesler/facenet-pytorch), whose weights come from "
            "github.com/davidsandberg/facenet, converted there from the authors' release "
            "(github.com/kpzhang93/MTCNN_face_detection_alignment)",
            "command": "python scripts/convert_mtcnn.py",
        },
        not_for=(
            "telling who a person is: it finds faces and does not recognise them",
            "evidence that no person is in a picture: it misses small, dark, covered and turned faces",
        ),
    )


def notice(version: str) -> str:
    """Return the text of NOTICE: whose weights these are, and their licence as the package states it."""
    stated = distribution(SOURCE).read_text("LICENSE.md") or distribution(SOURCE).read_text("LICENSE")
    if not stated:
        raise SystemExit(f"error: the installed {SOURCE} carries no licence text")
    origin = (
        f"pnet.onnx, rnet.onnx and onet.onnx hold the weights of the MTCNN networks in {SOURCE} {version}\n"
        "(https://github.com/timesler/facenet-pytorch), in another file format. There they were taken from\n"
        "https://github.com/davidsandberg/facenet (MIT, Copyright (c) 2016 David Sandberg), which converted\n"
        "them from https://github.com/kpzhang93/MTCNN_face_detection_alignment (MIT, Copyright (c) 2016\n"
        f"Kaipeng Zhang). All three are under the MIT License; {SOURCE} states it as follows:\n"
    )
    return f"{origin}\n{stated.strip()}\n"


def main() -> None:
    """Write the three nets, card.yaml and NOTICE."""
    default = Path(__file__).resolve().parents[1] / "models" / "mtcnn"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=default, help="folder to write (default: models/mtcnn)")
    folder: Path = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    builders = {"pnet": pnet, "rnet": rnet, "onet": onet}
    for name, build in builders.items():
        (folder / f"{name}.onnx").write_bytes(build(read_weights(name)).SerializeToString(deterministic=True))
    version = distribution(SOURCE).version
    (folder / CARD).write_text(card(folder, tuple(builders), version).to_yaml(), encoding="utf-8")
    (folder / "NOTICE").write_text(notice(version), encoding="utf-8")
    for path in sorted(folder.iterdir()):
        print(f"{path.stat().st_size:9,d} {path}")


if __name__ == "__main__":
    main()
