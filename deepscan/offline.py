"""Nothing is sent: imports libraries that report to their makers with that turned off."""

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from typing import Any

from deepscan.errors import MissingError, install_hint

#: Environment variable -> value that stops a library from reporting, in this process and in its children.
#: ONNX Runtime 1.29 and later writes a device id and a queue below the user's cache and looks up its maker's
#: host. The Hugging Face libraries add versions and a session id to each download that was asked for.
NO_REPORTS = {"ORT_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}


def turn_reports_off() -> None:
    """Set the variables of `NO_REPORTS`, except those that the user has set.

    The libraries read them once, when they are imported: call this before. An empty variable counts as not
    set, as it does for the libraries. If ONNX Runtime was imported earlier, its further reports are turned
    off; its device id is already written, and its first report may still be sent.
    """
    early = sys.modules.get("onnxruntime")
    if early is not None and not os.environ.get("ORT_DISABLE_TELEMETRY"):
        early.disable_telemetry_events()
    for name, value in NO_REPORTS.items():
        if not os.environ.get(name):
            os.environ[name] = value


def import_onnxruntime(submodule: str = "") -> Any:
    """Import ONNX Runtime, or a module of it, with its reports turned off and its log silent.

    The only place that may import it: a test looks for others. If your own program imports it before
    deepscan, set `ORT_DISABLE_TELEMETRY=1` before that import; `turn_reports_off` says why.

    Args:
        submodule: Name below `onnxruntime`, such as `quantization`; empty for the package.

    Returns:
        The module.

    Raises:
        MissingError: It is not installed, or cannot be loaded.
    """
    turn_reports_off()
    try:
        import onnxruntime

        # Of the whole process: what it has to say of a provider is in the error of whoever opens a session.
        onnxruntime.set_default_logger_severity(4)
        return importlib.import_module(f"onnxruntime.{submodule}") if submodule else onnxruntime
    except ImportError as error:
        raise MissingError(f"ONNX Runtime cannot be imported: {error}", install_hint())


def keep_matplotlib_out_of_home() -> None:
    """Give matplotlib a temporary folder for its list of fonts, until this process ends.

    It would write the list below the user's home, for one font that it brings itself. Call this before
    matplotlib is imported. A folder that the user has set in `MPLCONFIGDIR` is kept.
    """
    if os.environ.get("MPLCONFIGDIR"):
        return
    folder = tempfile.mkdtemp(prefix="deepscan-matplotlib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder
