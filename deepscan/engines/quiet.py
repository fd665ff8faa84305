"""Silence the progress messages of libraries."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

#: Loggers of torch's exporter, and the root logger, which ONNX Runtime's quantisation uses.
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's exporter and ONNX Runtime's quantisation.

    Their progress messages, deprecation warnings and recommendations are not for our users, and stdout is for
    data.
    """
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
