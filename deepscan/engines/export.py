"""Export a torch network to ONNX, with a parity check between the two."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deepscan.cards import ModelCard, ModelFile, sha256_of
from deepscan.detectors.detector import Network
from deepscan.detectors.preprocess import Preprocessor
from deepscan.engines.engine import Arrays
from deepscan.engines.golden import gate_crops
from deepscan.engines.quiet import quiet
from deepscan.errors import ContractError, UsageError
from deepscan.offline import turn_reports_off
from deepscan.onnx_session import open_session

#: Largest difference of probabilities between ONNX and torch, both float32 on a CPU. For an explanation it is
#: multiplied by the largest magnitude of that output, still far below a step of the maps in a record.
TOLERANCE = 1e-3
#: Share of an explanation's elements that may differ by more: hard decisions, such as whether a patch is in a
#: mask, flip if their input is within a rounding error of the threshold.
TIES = 0.01
OPSET = 20
#: Name of a model's ONNX file.
GRAPH = "model.onnx"
#: Largest weights of an ONNX file, in bytes: protobuf's limit minus room for the graph.
LARGEST = 2**31 - 2**24


class Exported(nn.Module):
    """A network with positional inputs and outputs, for export."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.exportable()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the probability, shape (B,), and each explanation output."""
        return tuple(self.network.predict(**dict(zip(self.network.inputs, inputs, strict=True))).values())


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between an exported model and its network.

    Attributes:
        probability: Largest difference of probabilities.
        explanation: Share of each explanation output's elements that differ by more than `TOLERANCE` allows.
        samples: Number of crops compared.
    """

    probability: float
    explanation: Mapping[str, float]
    samples: int


def export_onnx(
    network: Network,
    path: Path,
    *,
    inputs: Preprocessor,
    metadata: Mapping[str, str],
    half: bool = False,
) -> Parity:
    """Write a network as an ONNX file and compare it with the network.

    The graph's inputs are `network.inputs`, float32, with a free batch axis; its outputs are those of
    `Network.predict`: `probability`, shape (B,), and the explanation. Preprocessing of crops is not part of
    the graph. The file's metadata are `metadata`, the network's `export_note`, versions, tolerances and the
    measured differences.

    Args:
        network: The network; afterwards it is on the CPU, float32, in evaluation mode.
        path: The file; it is written only if the parity check passes.
        inputs: Makes the network's inputs from golden crops and noise.
        metadata: Further metadata: model, method, SHA-256 of the weights.
        half: Whether to store kernels and matrices in 16 bits if half precision holds them exactly.

    Raises:
        ContractError: ONNX Runtime and torch differ by more than `TOLERANCE` and `TIES` allow.
        UsageError: The network is too large for an ONNX file.
    """
    import onnx

    # Must come before torch's exporter, which may import ONNX Runtime.
    turn_reports_off()
    network.eval().to("cpu", torch.float32)
    _check_size(network)
    prepared = inputs(gate_crops(inputs.crop.input_side))
    arrays = {name: prepared[name] for name in network.inputs}
    temporary = path.with_suffix(".tmp.onnx")
    try:
        _write(network, arrays, temporary)
        model = onnx.load(temporary)
        _strip_traces(model)
        if half:
            _store_in_half(model, network)
            onnx.save(model, temporary)
        parity = _compare(network, temporary, arrays)
        properties = {
            **metadata,
            **({"note": network.export_note} if network.export_note else {}),
            "opset": str(OPSET),
            "torch": torch.__version__,
            "parity_tolerance": f"{TOLERANCE:g}",
            "parity_probability": f"{parity.probability:.2e}",
            **{f"parity_{name}": f"{share:.2%} differ" for name, share in parity.explanation.items()},
            "parity_samples": str(parity.samples),
        }
        onnx.helper.set_model_props(model, properties)
        onnx.save(model, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return parity


def export_model(
    card: ModelCard, network: Network, inputs: Preprocessor, folder: Path, *, half: bool = False
) -> tuple[ModelFile, Parity]:
    """Write a model's network as an ONNX file; return its entry for the card and the measured parity.

    Args:
        card: The model.
        network: Its network.
        inputs: Makes the network's inputs.
        folder: Folder of the file.
        half: See `export_onnx`.

    Raises:
        ContractError: See `export_onnx`.
        UsageError: See `export_onnx`.
    """
    metadata = {"model": card.name, "method": card.method, "weights_sha256": card.files["torch"].sha256}
    parity = export_onnx(network, folder / GRAPH, inputs=inputs, metadata=metadata, half=half)
    return ModelFile(GRAPH, sha256_of(folder / GRAPH)), parity


def _check_size(network: Network) -> None:
    size = sum(value.nbytes for value in network.state_dict().values())
    if size > LARGEST:
        raise UsageError(
            f"the network's weights are {size / 1e9:.1f} GB, but an ONNX file holds at most 2 GB",
            "scan with --engine torch, or train a smaller backbone",
        )


def _strip_traces(model: Any) -> None:
    """Remove the exporter's notes on the machine and the code: paths, and a stack trace for every node."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _store_in_half(model: Any, network: Network) -> None:
    """Store kernels and matrices in 16 bits if that is exact; the graph casts them back to float32.

    The exporter folds the norm after a kernel into it, as a factor for each channel. Kernel and factors are
    then stored separately; their product equals the folded kernel up to float32 rounding.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, weights, casts = model.graph, network.state_dict(), []
    for tensor in list(graph.initializer):
        name, weight = tensor.name, weights.get(tensor.name.removeprefix("network."))
        folded = numpy_helper.to_array(tensor)
        if weight is None or weight.ndim < 2 or tuple(weight.shape) != folded.shape:
            continue
        kernel = weight.detach().cpu().numpy()
        halved, factors = kernel.astype(np.float16), _factors(kernel, folded)
        exact = np.array_equal(halved, kernel) and np.allclose(kernel * factors, folded, rtol=1e-5, atol=0)
        if not exact:
            continue
        graph.initializer.remove(tensor)
        stored = {"half": halved, "factors": factors}
        graph.initializer.extend(numpy_helper.from_array(x, f"{name}.{end}") for end, x in stored.items())
        casts += [
            helper.make_node("Cast", [f"{name}.half"], [f"{name}.wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.wide", f"{name}.factors"], [name]),
        ]
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _factors(kernel: NDArray[np.float32], folded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the factor of each output channel, shape (O, 1, ...), computed from its largest weight."""
    flat = kernel.reshape(len(kernel), -1)
    largest = np.abs(flat).argmax(1)[:, None]
    before, after = (np.take_along_axis(x.reshape(flat.shape), largest, 1) for x in (kernel, folded))
    factors = np.divide(after, before, out=np.ones_like(before), where=before != 0)
    return factors.reshape(-1, *[1] * (kernel.ndim - 1))


def _write(network: Network, arrays: Arrays, path: Path) -> None:
    example = {name: torch.from_numpy(array[:2]) for name, array in arrays.items()}
    shapes = (({0: torch.export.Dim("batch", min=1, max=4096)},) * len(example),)
    with quiet(), torch.no_grad():
        names = list(network.predict(**example))
        # Traced here because the exporter would fall back to a graph for this batch size only.
        traced = torch.export.export(
            Exported(network).eval(), tuple(example.values()), dynamic_shapes=shapes, strict=True
        )
        torch.onnx.export(
            traced,
            f=path,
            input_names=list(example),
            output_names=names,
            dynamic_shapes=shapes,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )


def _compare(network: Network, path: Path, arrays: Arrays) -> Parity:
    session = open_session(path)
    names = [output.name for output in session.get_outputs()]
    with torch.no_grad():
        outputs = network.predict(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    expected = {name: output.numpy() for name, output in outputs.items()}
    count = len(arrays["crops"])
    # A single crop too: a graph with the traced batch size baked in would pass otherwise.
    comparisons = []
    for size in (count, 1):
        values: list[Any] = session.run(names, {name: array[:size] for name, array in arrays.items()})
        actual = dict(zip(names, values, strict=True))
        comparisons.append(_differences({name: value[:size] for name, value in expected.items()}, actual))
    worst = {name: float(np.max([differences[name] for differences in comparisons])) for name in expected}
    probability = worst.pop("probability")
    if not (probability < TOLERANCE and all(share <= TIES for share in worst.values())):
        others = "".join(f", {name} in {share:.1%} of its elements" for name, share in worst.items())
        raise ContractError(
            f"the exported model differs from its network: probability by {probability:.2e}{others}; "
            f"allowed are {TOLERANCE:g} and {TIES:.0%}",
            "the network uses an operation that ONNX computes differently: report it with the model's card",
        )
    return Parity(probability, worst, count)


def _differences(expected: Arrays, actual: Arrays) -> dict[str, float]:
    """Return the largest difference of probabilities, and the share of each explanation that differs."""
    differences = {}
    for name, value in expected.items():
        same = actual[name].shape == value.shape
        difference = np.abs(actual[name] - value) if same else np.full(value.shape, np.inf)
        limit = TOLERANCE * np.abs(value).max()
        # NaN compares as false, and must count as different.
        share = 1 - float((difference <= limit).mean())
        differences[name] = float(difference.max()) if name == "probability" else share
    return differences
