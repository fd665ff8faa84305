"""Opens ONNX files with ONNX Runtime, for the face finder and the engines."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepscan.devices import Budget, usable_cpus
from deepscan.errors import ContractError, MissingError, package_hint
from deepscan.offline import import_onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
#: TF32 keeps only 10 bits of the mantissa, but fp32 must mean fp32. By default, cuDNN times every convolution
#: algorithm for each input shape, and the face finder has a shape for each pyramid level and number of faces.
CUDA = {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}


def open_session(
    path: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    provider: tuple[str, Mapping[str, Any]] | None = None,
) -> Any:
    """Open an ONNX file, and check that it runs on the requested device.

    If a provider does not start, ONNX Runtime falls back to the CPU; here that is an error.

    Args:
        path: The ONNX file.
        device: `cpu` or `cuda`.
        threads: Threads of one run; None for one per core that this process may use.
        provider: Name and options of a provider to try before that of the device.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        MissingError: ONNX Runtime is not installed, or the provider does not start.
        ContractError: ONNX Runtime cannot load the file.
    """
    runtime = import_onnxruntime()
    wanted = PROVIDERS[device] if provider is None else provider[0]
    if device == "cuda":
        # It prints missing libraries to stdout, which is for data.
        with contextlib.redirect_stdout(sys.stderr):
            runtime.preload_dlls()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # A thread that spins while waiting takes its core from the decoders and the other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    threads = threads or Budget(usable_cpus()).threads
    if threads is not None:
        options.intra_op_num_threads = threads
    chain: list[Any] = [PROVIDERS["cpu"]]
    if device == "cuda":
        chain = [(PROVIDERS["cuda"], CUDA), *chain]
    if provider is not None:
        chain = [provider, *chain]
    try:
        session = runtime.InferenceSession(str(path), sess_options=options, providers=chain)
    except Exception as error:
        raise ContractError(
            f"{path} cannot be loaded: {str(error).splitlines()[0]}", "restore the model's folder"
        )
    if session.get_providers()[0] != wanted:
        raise MissingError(
            f"ONNX Runtime did not start {wanted}: it runs {', '.join(session.get_providers())}",
            package_hint("onnxruntime-gpu[cuda,cudnn]") + "; or choose the device cpu"
            if provider is None
            else "install the TensorRT that this onnxruntime-gpu is built for, or use --engine onnx",
        )
    return session
