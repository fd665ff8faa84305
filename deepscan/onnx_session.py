"""Opens ONNX files with ONNX Runtime, for the face finder and for the engines."""

import contextlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepscan.errors import ContractError, MissingError, package_hint
from deepscan.offline import import_onnxruntime

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
#: TF32 keeps 10 bits of a mantissa: what is called fp32 must be it. And by default every algorithm of a
#: convolution is timed anew for each shape of its input, of which the face finder has one a level and a face.
CUDA = {"use_tf32": 0, "cudnn_conv_algo_search": "HEURISTIC"}


def open_session(
    path: Path,
    *,
    device: str = "cpu",
    threads: int | None = None,
    provider: tuple[str, Mapping[str, Any]] | None = None,
) -> Any:
    """Open an ONNX file and make sure that it runs where it was meant to.

    ONNX Runtime goes on with the CPU when another provider fails to start; that is an error here.

    Args:
        path: The ONNX file.
        device: `cpu` or `cuda`.
        threads: Threads of one run, None for as many as there are cores.
        provider: One that comes before the device's own, and what it is told.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        MissingError: ONNX Runtime is not installed, or the device's provider does not start.
        ContractError: The file is not one that ONNX Runtime can load.
    """
    runtime = import_onnxruntime()
    wanted = PROVIDERS[device] if provider is None else provider[0]
    if device == "cuda":
        # It prints what it cannot find, and stdout is for data.
        with contextlib.redirect_stdout(sys.stderr):
            runtime.preload_dlls()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    # A thread that spins while it waits takes its core from the decoders and from the other sessions.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
