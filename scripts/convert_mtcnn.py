"""Convert facenet-pytorch's three MTCNN nets to ONNX, with the card and notice that ship with them.

Run once in a checkout with the `torch` extra: python scripts/convert_mtcnn.py
Two runs write the same bytes: the graphs are built here, node by node, not by an exporter.
"""

import argparse
import math
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
Doubles = NDArray[np.float64]

SOURCE = "facenet-pytorch"
# Versions that older releases of ONNX Runtime and TensorRT can read.
OPSET, IR_VERSION = 13, 7
#: ONNX Runtime stores channels in blocks of this size if their number is a multiple of it.
LANES = 16


@dataclass
class Graph:
    """An ONNX graph under construction; nodes are appended to the end of its trunk.

    ONNX Runtime needs more time for a PReLU than for the convolution before it, and converts the blocked
    layout to plain and back for it. Each PReLU is therefore expressed with other operations (see `rectify`
    and `rectify_and_pool`): the same function in a third to a half of the time.

    Attributes:
        weights: Parameter name -> values, from the torch module's state.
        trunk: Name of the tensor that the next layer reads.
        signs: 1 or -1 for each channel of the trunk; -1 if it contains the channel's negative.
        nodes: The nodes in order of execution.
        constants: The nodes' inputs other than the trunk.
    """

    weights: Weights
    trunk: str = "pixels"
    signs: Doubles = field(default_factory=lambda: np.ones(3))
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add values to the model under a name, as float32, and return the name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def add(self, kind: str, name: str, *inputs: str, **attributes: int | list[int]) -> str:
        """Append a node that reads the trunk and the inputs; it becomes the trunk."""
        node = helper.make_node(kind, [self.trunk, *inputs], [name], name, None, None, None, **attributes)
        self.nodes.append(node)
        self.trunk = name
        return name

    def parameters(self, name: str) -> tuple[Doubles, Doubles]:
        """Return the kernel (out, in, height, width) and bias of a convolution that reads the trunk."""
        kernel, bias = (self.weights[f"{name}.{part}"].astype(np.float64) for part in ("weight", "bias"))
        return kernel * self.signs[:, None, None], bias

    def convolve(self, name: str, kernel: Doubles, bias: Doubles | None = None, groups: int = 1) -> str:
        """Append an unpadded convolution of stride 1."""
        inputs = [self.constant(f"{name}.weight", kernel)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.add("Conv", name, *inputs, kernel_shape=list(kernel.shape[2:]), group=groups)

    def layer(self, k: int, pool: int = 0) -> None:
        """Append the k-th convolution, its PReLU and, unless `pool` is 0, a max pooling of that size.

        The first one takes pixels (n, h, w, 3) in 0..255; the normalisation (pixel - 127.5) / 128 is folded
        into its kernel and bias.
        """
        kernel, bias = self.parameters(f"conv{k}")
        slope = self.weights[f"prelu{k}.weight"].astype(np.float64)
        if k == 1:
            self.add("Transpose", "planes", perm=[0, 3, 1, 2])
            # An exact sum, so that every machine writes the same bytes.
            bias = bias - 127.5 / 128 * np.array([math.fsum(channel.ravel()) for channel in kernel])
            kernel = kernel / 128
            self.rectify_and_pool(k, kernel, bias, slope, pool)
        else:
            self.rectify(k, kernel, bias, slope)
            if pool:
                self.pool(f"pool{k}", pool)

    def rectify(self, k: int, kernel: Doubles, bias: Doubles, slope: Doubles) -> None:
        """Append a convolution with its PReLU.

        With a slope a <= 1, PReLU(y) = y + max(0, (a - 1) y). With a larger one and z = -y, it is
        -PReLU(y) = z + max(0, (a - 1) z).
        """
        self.signs = np.where(slope > 1, -1.0, 1.0)
        plain = self.convolve(f"conv{k}", kernel * self.signs[:, None, None, None], bias * self.signs)
        self.convolve(f"bend{k}", (slope - 1)[:, None, None, None], groups=len(slope))
        self.add("Relu", f"bent{k}")
        self.add("Add", f"prelu{k}", plain)

    def rectify_and_pool(self, k: int, kernel: Doubles, bias: Doubles, slope: Doubles, side: int) -> None:
        """Append a convolution, a max pooling and then the PReLU, which has fewer values to process there.

        With a slope a >= 0, PReLU is monotonic and can follow the pooling. With a < 0 it is max(y, a y); both
        are pooled, and the larger one of the two maxima p and q is q + max(0, p - q).
        """
        falling = np.flatnonzero(slope < 0)
        count = len(slope)
        spare = -(count + len(falling)) % LANES
        twice = slope[falling, None, None, None] * kernel[falling]
        self.convolve(
            f"conv{k}",
            np.concatenate([kernel, twice, np.zeros((spare, *kernel.shape[1:]))]),
            np.concatenate([bias, slope[falling] * bias[falling], np.zeros(spare)]),
        )
        pooled = self.pool(f"pool{k}", side)
        self.signs = np.where(slope > 1, -1.0, 1.0)
        keep, bend = np.zeros((2, count, count + len(falling) + spare))
        np.fill_diagonal(keep, self.signs * (slope >= 0))
        np.fill_diagonal(bend, np.where(slope < 0, 1, self.signs * (slope - 1)))
        other = count + np.arange(len(falling))
        keep[falling, other], bend[falling, other] = 1, -1
        plain = self.convolve(f"keep{k}", keep[..., None, None])
        self.trunk = pooled
        self.convolve(f"bend{k}", bend[..., None, None])
        self.add("Relu", f"bent{k}")
        self.add("Add", f"prelu{k}", plain)

    def pool(self, name: str, side: int) -> str:
        """Append a max pooling of stride 2 that keeps a last window beyond the edge."""
        return self.add("MaxPool", name, kernel_shape=[side, side], strides=[2, 2], ceil_mode=1)

    def dense(self, k: int, planes: tuple[int, int, int]) -> None:
        """Append the k-th layer, a fully connected one, with its PReLU.

        Args:
            k: Number of the layer.
            planes: Channels, height and width of the trunk. The nets were trained on (width, height, channel)
                order, so the columns are put into the order of a plain Flatten.
        """
        channels, height, width = planes
        self.add("Flatten", "flat", axis=1)
        stored = self.weights[f"dense{k}.weight"].reshape(-1, width, height, channels)
        matrix = stored.transpose(0, 3, 2, 1) * self.signs[:, None, None]
        self.multiply(f"dense{k}", matrix.reshape(len(matrix), -1))
        self.add("PRelu", f"prelu{k}", self.constant(f"prelu{k}.slope", self.weights[f"prelu{k}.weight"]))

    def multiply(self, name: str, matrix: NDArray[Any]) -> None:
        """Append a product with a matrix (out, in), plus the layer's bias."""
        weight = self.constant(f"{name}.weight", matrix)
        self.add("Gemm", name, weight, self.constant(f"{name}.bias", self.weights[f"{name}.bias"]), transB=1)

    def heads(self, layers: Mapping[str, str]) -> None:
        """Append dense heads, each reading the same trunk: output -> name of its parameters."""
        trunk = self.trunk
        for output, layer in layers.items():
            self.trunk = trunk
            self.multiply(layer, self.weights[f"{layer}.weight"])
            if output == "score":
                self.add("Softmax", output, axis=1)
            else:
                self.add("Identity", output)

    def model(self, name: str, height: int | str, outputs: Mapping[str, tuple[int | str, ...]]) -> ModelProto:
        """Return the finished model.

        Args:
            name: Name of the graph.
            height: Side of the input in pixels, or the name of a dynamic dimension.
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


def pnet(weights: Weights) -> ModelProto:
    """Return P-Net: pixels (n, h, w, 3) -> map (n, 5, ceil((h - 2) / 2) - 4, ...).

    The map's first plane contains the log-odds of a face, the other four the offsets. One convolution
    computes them all; the probabilities are computed later, only for the few windows that pass.
    """
    graph = Graph(weights)
    graph.layer(1, pool=2)
    graph.layer(2)
    graph.layer(3)
    (score, score_bias), (offset, offset_bias) = (graph.parameters(name) for name in ("conv4_1", "conv4_2"))
    kernel = np.concatenate([score[1:] - score[:1], offset])
    graph.convolve("map", kernel, np.concatenate([score_bias[1:] - score_bias[:1], offset_bias]))
    return graph.model("pnet", "height", {"map": ("n", 5, "rows", "columns")})


def rnet(weights: Weights) -> ModelProto:
    """Return R-Net: pixels (n, 24, 24, 3) -> score (n, 2), offset (n, 4)."""
    graph = Graph(weights)
    graph.layer(1, pool=3)
    graph.layer(2, pool=3)
    graph.layer(3)
    graph.dense(4, (64, 3, 3))
    graph.heads({"score": "dense5_1", "offset": "dense5_2"})
    return graph.model("rnet", 24, {"score": ("n", 2), "offset": ("n", 4)})


def onet(weights: Weights) -> ModelProto:
    """Return O-Net: pixels (n, 48, 48, 3) -> score (n, 2), offset (n, 4), points (n, 10): five x, five y."""
    graph = Graph(weights)
    graph.layer(1, pool=3)
    graph.layer(2, pool=3)
    graph.layer(3, pool=2)
    graph.layer(4)
    graph.dense(5, (128, 3, 3))
    graph.heads({"score": "dense6_1", "offset": "dense6_2", "points": "dense6_3"})
    return graph.model("onet", 48, {"score": ("n", 2), "offset": ("n", 4), "points": ("n", 10)})


def read_weights(name: str) -> Weights:
    """Read the parameters of one net from the installed facenet-pytorch, without running its code."""
    import torch

    path = distribution(SOURCE).locate_file(f"facenet_pytorch/data/{name}.pt")
    state = torch.load(str(path), map_location="cpu", weights_only=True)
    return {key: value.numpy().astype(np.float32) for key, value in state.items()}


def card(folder: Path, names: tuple[str, ...], version: str) -> ModelCard:
    """Return the card of the converted nets, with the hashes of the written files."""
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
            "data": "WIDER FACE and CelebA, according to the paper; not retrained here",
            "source": f"{SOURCE} {version} (github.com/timesler/facenet-pytorch), whose weights come from "
            "github.com/davidsandberg/facenet, converted there from the authors' release "
            "(github.com/kpzhang93/MTCNN_face_detection_alignment)",
            "command": "python scripts/convert_mtcnn.py",
        },
        not_for=(
            "identifying people: it finds faces and does not recognise them",
            "evidence that a picture shows nobody: it misses small, dark, covered and turned faces",
        ),
    )


def notice(version: str) -> str:
    """Return the text of NOTICE: the origin of the weights, and their license text from the package."""
    license = distribution(SOURCE).read_text("LICENSE.md") or distribution(SOURCE).read_text("LICENSE")
    if not license:
        raise SystemExit(f"error: the installed {SOURCE} has no license text")
    origin = (
        f"pnet.onnx, rnet.onnx and onet.onnx hold the weights of the MTCNN networks in {SOURCE} {version}\n"
        "(https://github.com/timesler/facenet-pytorch), in another file format. There they were taken from\n"
        "https://github.com/davidsandberg/facenet (MIT, Copyright (c) 2016 David Sandberg), which converted\n"
        "them from https://github.com/kpzhang93/MTCNN_face_detection_alignment (MIT, Copyright (c) 2016\n"
        f"Kaipeng Zhang). All three are under the MIT License; {SOURCE} states it as follows:\n"
    )
    return f"{origin}\n{license.strip()}\n"


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
