"""TensorRT through ONNX Runtime: engines are built for one GPU, cached, and checked before use."""

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

#: Precision -> largest difference of a probability from float32 on a CPU for an engine to be used.
TOLERANCES = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 2e-2}
PROVIDER = "TensorrtExecutionProvider"
#: Usual and largest batch size that an engine is built for.
USUAL, MOST = 32, 64
#: File with the identity of a folder's engines; it is written once they have passed the parity check.
IDENTITY_FILE = "engine.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that an engine depends on.

    Attributes:
        weights: SHA-256 of the model's ONNX file.
        gpu: Name of the GPU.
        tensorrt: Version of TensorRT.
        onnxruntime: Version of ONNX Runtime.
        precision: Precision of the arithmetic.
    """

    weights: str
    gpu: str
    tensorrt: str
    onnxruntime: str
    precision: str

    @property
    def key(self) -> str:
        """Name of the engine's folder."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:24]


@ENGINES.register("tensorrt")
class TensorrtEngine:
    """Runs a card's `onnx` file with TensorRT on a GPU; layer norms always use float32.

    The first use on a machine builds an engine, which takes minutes, and compares its scores with a CPU's.
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
                "TensorRT needs a GPU, and the CUDA driver reports no GPU",
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
        checked = is_checked(folder, identity)
        inputs = _gate_inputs(card)
        folder.mkdir(parents=True, exist_ok=True)
        self._session = open_session(
            path,
            device=self.device,
            threads=threads,
            provider=(PROVIDER, provider_options(folder, self.precision, inputs)),
        )
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        if not checked:
            self._gate(path, inputs, card.name)
            write_identity(folder, identity)

    def run(self, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
        """Return the network's outputs by name."""
        names = [output.name for output in self._session.get_outputs()]
        count = len(next(iter(inputs.values())))
        # A batch larger than the engine was built for would trigger another build.
        parts = [
            self._session.run(names, {name: array[start : start + MOST] for name, array in inputs.items()})
            for start in range(0, count, MOST)
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
            # Importing it loads its shared libraries, which the provider needs.
            import tensorrt
        except ImportError as error:
            raise MissingError(f"TensorRT cannot be imported: {error}", hint)
        runtime = import_onnxruntime()
        if PROVIDER not in runtime.get_available_providers():
            raise MissingError(
                "this build of ONNX Runtime does not support TensorRT",
                package_hint("onnxruntime-gpu") + "; it exists for Linux on x86-64 only",
            )
        return {
            "tensorrt": tensorrt.__version__,
            "onnxruntime": runtime.__version__,
            "gpus": cuda_devices(),
        }

    def _gate(self, path: Path, inputs: Arrays, model: str) -> None:
        expected = open_session(path).run(["probability"], dict(inputs))[0]
        difference = float(np.abs(self.run(inputs)["probability"] - expected).max())
        if not difference <= TOLERANCES[self.precision]:
            raise ContractError(
                f"model {model!r} has different scores in TensorRT: they differ by {difference:.2e} in "
                f"{self.precision}, at most {TOLERANCES[self.precision]:g} is allowed",
                "use --precision fp32, or --engine onnx",
            )


def provider_options(folder: Path, precision: str, inputs: Arrays) -> dict[str, Any]:
    """Return the options of ONNX Runtime's TensorRT provider.

    Args:
        folder: Folder of its engines.
        precision: `fp32`, `fp16` or `bf16`.
        inputs: Example inputs by name, for their shapes.
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
    """Return whether a folder has engines that passed the parity check; others are removed.

    Raises:
        ContractError: The engines have another identity, or have changed since.
    """
    if not (folder / IDENTITY_FILE).is_file():
        for file in folder.glob("*.engine"):
            file.unlink()
        return False
    hint = f"remove {folder}: the engine is then built again"
    try:
        content = json.loads((folder / IDENTITY_FILE).read_text(encoding="utf-8"))
        built, files = Identity(**content["built"]), dict(content["files"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ContractError(f"{folder / IDENTITY_FILE} cannot be read: {error!r}", hint)
    if built != identity:
        raise ContractError(
            f"the TensorRT engine in {folder} was built for another model or version: {built}", hint
        )
    if files != _engines(folder):
        raise ContractError(f"the TensorRT engine in {folder} is not the one that was checked", hint)
    return True


def write_identity(folder: Path, identity: Identity) -> None:
    """Write the identity and hashes of the engines in a folder."""
    with atomic_write(folder / IDENTITY_FILE) as file:
        file.write(json.dumps({"built": asdict(identity), "files": _engines(folder)}, indent=1).encode())


def _engines(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.glob("*.engine"))}


def _gate_inputs(card: ModelCard) -> Arrays:
    """Return the network's inputs for golden crops and noise."""
    inputs = make_preprocessor(card.inputs, card.face_crop, card.mean, card.std)
    return inputs(gate_crops(card.face_crop.input_side))
