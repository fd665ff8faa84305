"""Imports libraries that would send usage reports, with the reports turned off."""

import atexit
import importlib
import os
import shutil
import sys
import tempfile
from typing import Any

from deepscan.errors import MissingError, install_hint

#: Environment variable -> value that turns off a library's reports, in this process and its children.
#: ONNX Runtime 1.29 and later writes a device id and a queue to the user's cache and contacts its vendor's
#: host. The Hugging Face libraries add versions and a session id to each download. Ray describes the cluster.
NO_REPORTS = {
    "ORT_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def turn_reports_off() -> None:
    """Set the variables of `NO_REPORTS`, except those that the user has set.

    Call this before importing the libraries, which read the variables only once. An empty variable counts as
    unset, as it does for the libraries. If ONNX Runtime was imported before, this turns off further reports,
    but the device id is already written and the first report may still be sent.
    """
    early = sys.modules.get("onnxruntime")
    if early is not None and not os.environ.get("ORT_DISABLE_TELEMETRY"):
        early.disable_telemetry_events()
    for name, value in NO_REPORTS.items():
        if not os.environ.get(name):
            os.environ[name] = value


def import_onnxruntime(submodule: str = "") -> Any:
    """Import ONNX Runtime, or one of its modules, with reports turned off and its log silenced.

    No other code may import it, which a test checks. If your own program imports it before deepscan, set
    `ORT_DISABLE_TELEMETRY=1` first; see `turn_reports_off`.

    Args:
        submodule: Module of `onnxruntime`, such as `quantization`; empty for the package.

    Returns:
        The module.

    Raises:
        MissingError: ONNX Runtime is not installed, or cannot be loaded.
    """
    turn_reports_off()
    try:
        import onnxruntime

        # For the whole process: messages about providers are in the error raised when opening a session.
        onnxruntime.set_default_logger_severity(4)
        return importlib.import_module(f"onnxruntime.{submodule}") if submodule else onnxruntime
    except ImportError as error:
        raise MissingError(f"ONNX Runtime cannot be imported: {error}", install_hint())


def keep_matplotlib_out_of_home() -> None:
    """Let matplotlib use a temporary folder for its font list until this process ends.

    Otherwise it writes the list to the user's home, although deepscan uses only the font that matplotlib
    includes. Call this before importing matplotlib. If the user has set `MPLCONFIGDIR`, it is respected.
    """
    if os.environ.get("MPLCONFIGDIR"):
        return
    folder = tempfile.mkdtemp(prefix="deepscan-matplotlib-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    os.environ["MPLCONFIGDIR"] = folder
