"""Loggers under `deepscan` in the standard `logging`, silent until an application adds a handler."""

import logging


def get_logger(module: str) -> logging.Logger:
    """Return the logger of a module.

    Without a handler, `logging` prints warnings to stderr, so the top logger gets a `NullHandler`. To see the
    messages, add a handler to `logging.getLogger("deepscan")` or to the root logger.

    Args:
        module: `__name__` of the module, such as `deepscan.media.pool`.
    """
    top = logging.getLogger("deepscan")
    if not top.handlers:
        top.addHandler(logging.NullHandler())
    return logging.getLogger(module)
