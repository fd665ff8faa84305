"""What this installation can do: decoders, engines, devices, models, with advice for each that is missing."""

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
#: Modules of the extra that training and the torch engine need.
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


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at.

    Attributes:
        name: What it is.
        state: `ok`, `optional` (missing, and a scan works without it) or `failed`.
        found: What was found.
        advice: What to do about it, empty where nothing is to be done.
        code: The exit code that a failure means.
    """

    name: str
    state: State
    found: str
    advice: str = ""
    code: ExitCode = ExitCode.OK


def examine() -> Iterator[Check]:
    """Yield each check as it has been made; the slow ones, which load models, come last."""
    version = f"{__version__} in {Path(__file__).parent}"
    yield Check("deepscan", "ok", version)
    yield Check("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _decoders()
    yield from _engines()
    yield _gpus()
    yield _extra()
    yield from _models()


def _decoders() -> Iterator[Check]:
    there = {name: installed_version(DECODERS.get(name).package) for name in DECODERS.names}
    for name, version in there.items():
        if version:
            failure = _decoding_failure(name)
            code = ExitCode.MISSING if failure else ExitCode.OK
            state: State = "failed" if failure else "ok"
            advice = package_hint("--force-reinstall", DECODERS.get(name).package) if failure else ""
            yield Check(f"decoder {name}", state, failure or version, advice, code)
        elif any(there.values()):
            others = ", ".join(other for other in there if there[other])
            advice = f"not needed: {others} decodes instead (there may be no wheel for this platform)"
            yield Check(f"decoder {name}", "optional", "not installed", advice)
        else:
            yield Check(f"decoder {name}", "failed", "not installed", install_hint(), ExitCode.MISSING)


def _decoding_failure(decoder: str) -> str:
    """Return why a decoder does not decode a clip made for it, as a scan would; empty where it does."""
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
            told = ENGINES.get(name).describe()
        except DeepscanError as error:
            state: State = "failed" if name == "onnx" else "optional"
            code = ExitCode.OK if state == "optional" else ExitCode.MISSING
            yield Check(f"engine {name}", state, error.message, error.hint, code)
        else:
            yield Check(
                f"engine {name}", "ok", ", ".join(f"{key} {_plain(value)}" for key, value in told.items())
            )


def _gpus() -> Check:
    if count := cuda_devices():
        return Check("gpu", "ok", f"{count} seen by the CUDA driver")
    return Check("gpu", "optional", "none seen by the CUDA driver", "not needed: the CPU scans")


def _extra() -> Check:
    missing = [module for module in EXTRA if importlib.util.find_spec(module) is None]
    if not missing:
        return Check("training", "ok", f"all of {DISTRIBUTION}[torch] is installed")
    advice = install_hint("torch")
    return Check("training", "optional", f"not installed: {', '.join(missing)}", advice)


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
            "the default detector is not there",
            reinstall_hint(),
            ExitCode.MISSING,
        )
    for folder in folders:
        name = f"model {folder.name}"
        try:
            card = load_card(folder)
            card.verify()
            if not is_embedded(folder):
                # Large: a scan checks its golden score when it loads it.
                yield Check(name, "ok", f"installed ({card.method}), hashes as stated")
            elif card.method == "mtcnn":
                Mtcnn()
                yield Check(name, "ok", "hashes as stated, loads")
            elif card.method == FaceFilter.method:
                FaceFilter()
                yield Check(name, "ok", "hashes as stated, loads")
            elif card.method == Looks.method:
                Looks()
                yield Check(name, "ok", "hashes as stated, loads")
            else:
                scorer = Scorer(card)
                golden = "golden score as stated" if card.golden else "no golden score"
                band = "calibrated" if card.calibration else "not calibrated: always inconclusive"
                engine = f"{scorer.engine.name} engine, {scorer.engine.device}"
                yield Check(name, "ok", f"hashes as stated, {golden} ({engine}), {band}")
        except DeepscanError as error:
            yield Check(name, "failed", error.message, error.hint, error.exit_code)


def _plain(value: object) -> str:
    return " ".join(str(item) for item in value) if isinstance(value, list | tuple) else str(value)
