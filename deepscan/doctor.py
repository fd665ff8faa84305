"""Checks of an installation: decoders, engines, devices and models, with advice for each problem."""

import importlib.util
import os
import platform
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from deepscan.bench.stages import decode_once
from deepscan.devices import cuda_devices
from deepscan.engines import ENGINES
from deepscan.engines.scorer import Scorer
from deepscan.errors import (
    DISTRIBUTION,
    DeepscanError,
    ExitCode,
    install_hint,
    package_hint,
    reinstall_hint,
)
from deepscan.faces.face_filter import FaceFilter
from deepscan.faces.looks import Looks
from deepscan.faces.mtcnn import Mtcnn
from deepscan.media.decoders import DECODERS
from deepscan.media.jobs import DecodeOptions
from deepscan.models.lookup import DEFAULT_MODEL, installed_models, is_embedded, load_card
from deepscan.version import __version__
from deepscan.versions import installed_version

State = Literal["ok", "optional", "failed"]
#: Modules of the extra `torch`, for training and the torch engine.
EXTRA = (
    "torch",
    "torchvision",
    "open_clip",
    "facenet_pytorch",
    "safetensors",
    "sklearn",
    "onnx",
    "onnxscript",
)
#: Modules of the extra `store`.
STORE_EXTRA = ("fsspec", "s3fs", "aiohttp", "pyarrow")


@dataclass(frozen=True, slots=True)
class Check:
    """Result of one check.

    Attributes:
        name: Name of the checked part, such as `decoder pyav`.
        state: `ok`, `optional` (missing, but scan works without it) or `failed`.
        found: What the check found.
        advice: How to fix it; empty if there is nothing to fix.
        code: Exit code of a scan with this problem; 0 without a problem.
    """

    name: str
    state: State
    found: str
    advice: str = ""
    code: ExitCode = ExitCode.OK


def examine() -> Iterator[Check]:
    """Run and yield each check; slow ones, which load models, come last."""
    version = f"{__version__} in {Path(__file__).parent}"
    yield Check("deepscan", "ok", version)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _decoders()
    yield from _engines()
    yield _gpus()
    yield _extra()
    yield _stores()
    yield _cluster()
    yield from _models()


def _decoders() -> Iterator[Check]:
    installed = {name: installed_version(DECODERS.get(name).package) for name in DECODERS.names}
    for name, version in installed.items():
        if version:
            failure = _decoding_failure(name)
            code = ExitCode.MISSING if failure else ExitCode.OK
            state: State = "failed" if failure else "ok"
            advice = package_hint("--force-reinstall", DECODERS.get(name).package) if failure else ""
            yield Check(f"decoder {name}", state, failure or version, advice, code)
        elif any(installed.values()):
            others = ", ".join(other for other in installed if installed[other])
            advice = f"not needed: {others} is used instead (this platform may have no wheel)"
            yield Check(f"decoder {name}", "optional", "not installed", advice)
        else:
            yield Check(f"decoder {name}", "failed", "not installed", install_hint(), ExitCode.MISSING)


def _decoding_failure(decoder: str) -> str:
    """Return why a decoder fails on a test clip, decoded as in a scan; empty if it works."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            clip = Path(folder) / f"clip{DECODERS.get(decoder).takes}"
            _make_clip(clip)
            options = DecodeOptions(frames=2, decoder=decoder, timeout=20)
            return decode_once([os.fsencode(clip)], options)[0].detail
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _make_clip(path: Path) -> None:
    import av

    if path.suffix == ".tiff":
        from PIL import Image

        Image.new("RGB", (64, 64)).save(path)
        return
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(4):
            image = np.full((64, 64, 3), 60 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def _engines() -> Iterator[Check]:
    for name in ENGINES.names:
        try:
            details = ENGINES.get(name).describe()
        except DeepscanError as error:
            state: State = "failed" if name == "onnx" else "optional"
            code = ExitCode.OK if state == "optional" else ExitCode.MISSING
            yield Check(f"engine {name}", state, error.message, error.hint, code)
        else:
            yield Check(
                f"engine {name}", "ok", ", ".join(f"{key} {_plain(value)}" for key, value in details.items())
            )


def _gpus() -> Check:
    if count := cuda_devices():
        return Check("gpu", "ok", f"{count} found by the CUDA driver")
    return Check("gpu", "optional", "none found by the CUDA driver", "not needed: scan runs on the CPU")


def _extra() -> Check:
    missing = [module for module in EXTRA if importlib.util.find_spec(module) is None]
    if not missing:
        return Check("training", "ok", f"all of {DISTRIBUTION}[torch] is installed")
    advice = install_hint("torch")
    return Check("training", "optional", f"not installed: {', '.join(missing)}", advice)


def _stores() -> Check:
    """Check what videos in object stores and on web servers need."""
    missing = [module for module in STORE_EXTRA if importlib.util.find_spec(module) is None]
    if missing:
        return Check("stores", "optional", f"not installed: {', '.join(missing)}", install_hint("store"))
    more = [name for name in ("gcsfs", "adlfs") if importlib.util.find_spec(name) is not None]
    return Check("stores", "ok", ", ".join(f"{name} {installed_version(name)}" for name in ("s3fs", *more)))


def _cluster() -> Check:
    """Check what `--cluster` needs."""
    if importlib.util.find_spec("ray") is None:
        return Check("cluster", "optional", "not installed: ray", install_hint("cluster"))
    return Check("cluster", "ok", f"ray {installed_version('ray')}")


def _models() -> Iterator[Check]:
    try:
        folders = list(installed_models())
    except DeepscanError as error:
        yield Check("models", "failed", error.message, error.hint, error.exit_code)
        return
    if DEFAULT_MODEL not in [folder.name for folder in folders]:
        yield Check(
            f"model {DEFAULT_MODEL}",
            "failed",
            "the default model is missing",
            reinstall_hint(),
            ExitCode.MISSING,
        )
    for folder in folders:
        name = f"model {folder.name}"
        try:
            card = load_card(folder)
            card.verify()
            if not is_embedded(folder):
                # May be large: a scan checks the golden score when it loads the model.
                yield Check(name, "ok", f"installed ({card.method}), hashes match")
            elif card.method == "mtcnn":
                Mtcnn()
                yield Check(name, "ok", "hashes match, loads")
            elif card.method == FaceFilter.method:
                FaceFilter()
                yield Check(name, "ok", "hashes match, loads")
            elif card.method == Looks.method:
                Looks()
                yield Check(name, "ok", "hashes match, loads")
            else:
                scorer = Scorer(card)
                golden = "golden score matches" if card.golden else "no golden score"
                band = (
                    "calibrated" if card.calibration else "not calibrated: verdicts are always inconclusive"
                )
                engine = f"{scorer.engine.name} engine, {scorer.engine.device}"
                yield Check(name, "ok", f"hashes match, {golden} ({engine}), {band}")
        except DeepscanError as error:
            yield Check(name, "failed", error.message, error.hint, error.exit_code)


def _plain(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
