"""TensorRT through ONNX Runtime: engines built for one GPU, kept in the user's cache, checked before use."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from deepscan.cache import cache_folder
from deepscan.cards import ModelCard, sha256_of
from deepscan.detectors.preprocess import make_preprocessor
from deepscan.devices import cuda_devices, gpu_name, resolve
from deepscan.engines import ENGINES
from deepscan.engines.engine import Arrays, resolve_precision
from deepscan.engines.golden import gate_crops
from deepscan.errors import ContractError, MissingError, UsageError, package_hint
from deepscan.files import atomic_write
from deepscan.offline import import_onnxruntime
from deepscan.onnx_session import open_session

#: Precision -> how far a probability may be from float32's on a CPU before an engine is used at all.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 2e-2}
PROVIDER = "TensorrtExecutionProvider"
#: Crops of the batches that an engine is built for: the usual one, and the largest.
USUAL, MOST = 32, 64
#: What says of a folder of engines what they were built of; it is written when they have passed the gate.
STATED = "engine.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """What an engine is built of and for: with any other it is another engine.

    Attributes:
        weights: SHA-256 of the model's ONNX file.
        gpu: Name of the GPU.
        tensorrt: Version of TensorRT.
        onnxruntime: Version of ONNX Runtime.
        precision: Of the arithmetic.
    """

    weights: str
    gpu: str
    tensorrt: str
    onnxruntime: str
    precision: str

    @property
    def key(self) -> str:
        """Name of its folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]


@ENGINES.register("tensorrt")
class TensorrtEngine:
    """Runs a card's `onnx` file with TensorRT on a GPU; below float32, layer norms stay in float32.

    The first use on a machine builds an engine, which takes minutes, and compares it with the CPU's scores.
    """

    name = "tensorrt"
    package: ClassVar = "onnxruntime"
    files: ClassVar[Mapping[str, str]] = dict.fromkeys(TOLERANCES, "onnx")
    automatic: ClassVar = False
    file = "onnx"
    note = ""

    def __init__(self, card: ModelCard, *, device: str, precision: str, threads: int | None) -> None:
        self.precision = resolve_precision(type(self), precision)
        if device == "cpu":
            raise UsageError("the tensorrt engine does not run on a CPU", "use --engine onnx")
        self.device = resolve(device)
        if self.device != "cuda":
            raise MissingError(
                "TensorRT needs a GPU, and the CUDA driver shows none",
                "install the driver, or use --engine onnx",
            )
        path, versions = card.path(self.file), self.describe()
        identity = Identity(
            card.files[self.file].sha256,
            gpu_name(),
            versions["tensorrt"],
            versions["onnxruntime"],
            self.precision,
        )
        folder = cache_folder("tensorrt") / identity.key
        passed = is_checked(folder, identity)
        compared = _compared(card)
        folder.mkdir(parents=True, exist_ok=True)
        self._session = open_session(
            path,
            device=self.device,
            threads=threads,
            provider=(PROVIDER, provider_options(folder, self.precision, compared)),
        )
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        if not passed:
            self._gate(path, compared, card.name)
            write_identity(folder, identity)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the network's outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        count = len(next(iter(inputs.values())))
        # A larger batch than it was built for would build another engine.
        parts = [
            self._session.run(names, {name: array[at : at + MOST] for name, array in inputs.items()})
            for at in range(0, count, MOST)
        ]
        return {
            name: np.concatenate(values) for name, values in zip(names, zip(*parts, strict=True), strict=True)
        }

    @classmethod
    def describe(cls) -> Mapping[str, Any]:
        """Return the versions of TensorRT and ONNX Runtime.

        Raises:
            MissingError: TensorRT is not installed, or ONNX Runtime has no provider for it.
        """
        hint = package_hint("tensorrt") + "; the version must be the one that onnxruntime-gpu was built for"
        try:
            # Importing it also loads its libraries, which the provider then finds.
            import tensorrt
        except ImportError as error:
            raise MissingError(f"TensorRT cannot be imported: {error}", hint)
        runtime = import_onnxruntime()
        if PROVIDER not in runtime.get_available_providers():
            raise MissingError(
                "this build of ONNX Runtime has no TensorRT",
                package_hint("onnxruntime-gpu") + "; it exists for Linux on x86-64 only",
            )
        return {
            "tensorrt": tensorrt.__version__,
            "onnxruntime": runtime.__version__,
            "gpus": cuda_devices(),
        }

    def _gate(self, path: Path, inputs: Arrays, model: str) -> None:
        expected = open_session(path).run(["probability"], dict(inputs))[0]
        apart = float(np.abs(self.run(inputs)["probability"] - expected).max())
        if not apart <= TOLERANCES[self.precision]:
            raise ContractError(
                f"model {model!r} scores otherwise in TensorRT: by {apart:.2e} in {self.precision}, allowed "
                f"{TOLERANCES[self.precision]:g}",
                "use --precision fp32, or --engine onnx",
            )


def provider_options(folder: Path, precision: str, inputs: Arrays) -> dict[str, Any]:
    """Return what the provider is told.

    Args:
        folder: Where it keeps its engines.
        precision: `fp32`, `fp16` or `bf16`.
        inputs: By name, with the shapes that the network takes.
    """

    def shapes(batch: int) -> str:
        sized = ((name, (batch, *array.shape[1:])) for name, array in inputs.items())
        return ",".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in sized)

    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(folder),
        "trt_fp16_enable": precision == "fp16",
        "trt_bf16_enable": precision == "bf16",
        "trt_layer_norm_fp32_fallback": True,
        "trt_profile_min_shapes": shapes(1),
        "trt_profile_opt_shapes": shapes(USUAL),
        "trt_profile_max_shapes": shapes(MOST),
    }


def is_checked(folder: Path, identity: Identity) -> bool:
    """Return whether a folder holds engines that have passed the gate; what has not is removed.

    Raises:
        ContractError: They were built of something else, or have changed since.
    """
    if not (folder / STATED).is_file():
        for file in folder.glob("*.engine"):
            file.unlink()
        return False
    hint = f"remove {folder}: the engine is then built anew"
    try:
        stated = json.loads((folder / STATED).read_text(encoding="utf-8"))
        built, files = Identity(**stated["built"]), dict(stated["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ContractError(f"{folder / STATED} cannot be read: {error!r}", hint)
    if built != identity:
        raise ContractError(f"the TensorRT engine in {folder} was built of something else: {built}", hint)
    if files != _engines(folder):
        raise ContractError(f"the TensorRT engine in {folder} is not the one that was checked", hint)
    return True


def write_identity(folder: Path, identity: Identity) -> None:
    """Write of what the engines in a folder were built, and their hashes."""
    with atomic_write(folder / STATED) as file:
        file.write(json.dumps({"built": asdict(identity), "files": _engines(folder)}, indent=1).encode())


def _engines(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.glob("*.engine"))}


def _compared(card: ModelCard) -> Arrays:
    """Return the inputs of the golden crops and of noise."""
    inputs = make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
    return inputs(gate_crops(card.face_crop.input_side))
