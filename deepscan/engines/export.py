"""Export of a torch network to ONNX, behind a gate that compares the two."""

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

#: Largest difference of probabilities between ONNX and torch, both float32 on a CPU; of an explanation it is
#: the same, times the largest magnitude of that output, which is far below a step of the maps in a record.
TOLERANCE = 1e-3
#: Share of an explanation's elements that may differ by more: a hard decision, such as whether a patch is in
#: a mask, flips where what it depends on is within a rounding error of its threshold.
TIES = 0.01
OPSET = 20
#: Name of a model's ONNX file.
GRAPH = "model.onnx"
#: What an ONNX file can hold: protobuf's limit, less room for the graph itself.
LARGEST = 2**31 - 2**24


class Exported(nn.Module):
    """A network as it is exported: its inputs in their order in, what it predicts in its order out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network.exportable()

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the probability, shape (B,), and each explanation output."""
        return tuple(self.network.predict(**dict(zip(self.network.inputs, inputs, strict=True))).values())


@dataclass(frozen=True, slots=True)
class Parity:
    """How far an exported model is from its network.

    Attributes:
        probability: Largest difference of probabilities.
        explanation: Share of each explanation output's elements that differ by more than `TOLERANCE` allows.
        samples: Crops compared.
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
    """Write a network as an ONNX file and hold it against the network.

    The graph takes what `network.inputs` names, float32, the first axis of each free, and gives what
    `Network.predict` gives: `probability`, shape (B,), and the explanation. Normalising and all else that
    makes inputs of crops stays outside, as the card states it. The file's own metadata carry `metadata`, the
    network's note on its exported form, the versions, the tolerances and the differences that were measured.

    Args:
        network: The network; it is left on the CPU, float32, in evaluation mode.
        path: Where the file goes; it is only there afterwards if the gate was passed.
        inputs: Makes the network's inputs of the golden crops and of noise.
        metadata: What else the file should say of itself: model, method, SHA-256 of the weights.
        half: Whether kernels and matrices that half precision holds exactly take 16 bits in the file.

    Raises:
        ContractError: ONNX Runtime and torch differ by more than `TOLERANCE` and `TIES` allow.
        UsageError: The network is larger than an ONNX file can be.
    """
    import onnx

    # Before torch's exporter, which may import ONNX Runtime itself.
    turn_reports_off()
    network.eval().to("cpu", torch.float32)
    _check_size(network)
    made = inputs(gate_crops(inputs.crop.input_side))
    arrays = {name: made[name] for name in network.inputs}
    temporary = path.with_suffix(".tmp.onnx")
    try:
        _write(network, arrays, temporary)
        model = onnx.load(temporary)
        _strip_traces(model)
        if half:
            _store_in_half(model, network)
            onnx.save(model, temporary)
        parity = _compare(network, temporary, arrays)
        stated = {
            **metadata,
            **({"note": network.export_note} if network.export_note else {}),
            "opset": str(OPSET),
            "torch": torch.__version__,
            "parity_tolerance": f"{TOLERANCE:g}",
            "parity_probability": f"{parity.probability:.2e}",
            **{f"parity_{name}": f"{share:.2%} differ" for name, share in parity.explanation.items()},
            "parity_samples": str(parity.samples),
        }
        onnx.helper.set_model_props(model, stated)
        onnx.save(model, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return parity


def export_model(
    card: ModelCard, network: Network, inputs: Preprocessor, folder: Path, *, half: bool = False
) -> tuple[ModelFile, Parity]:
    """Write a model's network as an ONNX file, and return what a card states of it.

    Args:
        card: The model.
        network: Its network.
        inputs: Makes the network's inputs.
        folder: Where the file goes.
        half: As for `export_onnx`.

    Raises:
        ContractError: As for `export_onnx`.
        UsageError: As for `export_onnx`.
    """
    stated = {"model": card.name, "method": card.method, "weights_sha256": card.files["torch"].sha256}
    parity = export_onnx(network, folder / GRAPH, inputs=inputs, metadata=stated, half=half)
    return ModelFile(GRAPH, sha256_of(folder / GRAPH)), parity


def _check_size(network: Network) -> None:
    size = sum(value.nbytes for value in network.state_dict().values())
    if size > LARGEST:
        raise UsageError(
            f"the network's weights are {size / 1e9:.1f} GB, and an ONNX file holds at most 2",
            "scan with --engine torch, or train a smaller backbone",
        )


def _strip_traces(model: Any) -> None:
    """Remove what the exporter noted of the machine and the code: paths, and stack traces of every node."""
    graph = model.graph
    noted = (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer)
    for part in noted:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _store_in_half(model: Any, network: Network) -> None:
    """Store kernels and matrices that half precision holds exactly in 16 bits; loading the file widens them.

    The exporter folds the norm behind a kernel into it, as a factor for each channel. Kernel and factors are
    then stored apart, and their product is what was folded, to the rounding of float32.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph, weights, widened = model.graph, network.state_dict(), []
    for tensor in list(graph.initializer):
        name, weight = tensor.name, weights.get(tensor.name.removeprefix("network."))
        folded = numpy_helper.to_array(tensor)
        if weight is None or weight.ndim < 2 or tuple(weight.shape) != folded.shape:
            continue
        kernel = weight.detach().cpu().numpy()
        narrow, factors = kernel.astype(np.float16), _factors(kernel, folded)
        exact = np.array_equal(narrow, kernel) and np.allclose(kernel * factors, folded, rtol=1e-5, atol=0)
        if not exact:
            continue
        graph.initializer.remove(tensor)
        stored = {"half": narrow, "factors": factors}
        graph.initializer.extend(numpy_helper.from_array(x, f"{name}.{end}") for end, x in stored.items())
        widened += [
            helper.make_node("Cast", [f"{name}.half"], [f"{name}.wide"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{name}.wide", f"{name}.factors"], [name]),
        ]
    nodes = [*widened, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _factors(kernel: NDArray[np.float32], folded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return by what each output channel was multiplied, shape (O, 1, ...), at its largest weight."""
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
        # Traced here: the exporter by itself would fall back on a graph for batches of this size alone.
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
    # One crop alone as well: a graph that has frozen the batch size it was traced with would pass otherwise.
    compared = []
    for size in (count, 1):
        given: list[Any] = session.run(names, {name: array[:size] for name, array in arrays.items()})
        found = dict(zip(names, given, strict=True))
        compared.append(_differences({name: value[:size] for name, value in expected.items()}, found))
    worst = {name: float(np.max([differences[name] for differences in compared])) for name in expected}
    probability = worst.pop("probability")
    if not (probability < TOLERANCE and all(share <= TIES for share in worst.values())):
        told = "".join(f", {name} in {share:.1%} of its elements" for name, share in worst.items())
        raise ContractError(
            f"the exported model differs from its network: probability by {probability:.2e}{told}, "
            f"allowed {TOLERANCE:g} and {TIES:.0%}",
            "the network uses an operation that ONNX computes otherwise: report it with the model's card",
        )
    return Parity(probability, worst, count)


def _differences(expected: Arrays, found: Arrays) -> dict[str, float]:
    """Return the largest difference of probabilities, and the share of each explanation that differs."""
    differences = {}
    for name, value in expected.items():
        same = found[name].shape == value.shape
        difference = np.abs(found[name] - value) if same else np.full(value.shape, np.inf)
        limit = TOLERANCE * np.abs(value).max()
        # What is no number compares as false, and must count as different.
        share = 1 - float((difference <= limit).mean())
        differences[name] = float(difference.max()) if name == "probability" else share
    return differences
