"""Loggers below `deepscan`, by the standard `logging`: silent until an application adds a handler."""

import logging


def get_logger(module: str) -> logging.Logger:
    """Return the logger of a module.

    Without a handler, `logging` prints warnings on stderr. The top logger therefore gets one that drops them;
    whoever wants to read them adds another to `logging.getLogger("deepscan")` or to the root logger.

    Args:
        module: `__name__` of the module, such as `deepscan.media.pool`.
    """
    top = logging.getLogger("deepscan")
    if not top.handlers:
        top.addHandler(logging.NullHandler())
    return logging.getLogger(module)
