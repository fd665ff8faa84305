"""Silences libraries that narrate their work."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO

#: What torch's exporter logs under, and the root, under which ONNX Runtime's quantisation does.
_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's exporter and ONNX Runtime's quantisation.

    They narrate what they do, warn of their own deprecations and recommend what has been done one line
    before: none of it is for our user, and stdout is for data.
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
