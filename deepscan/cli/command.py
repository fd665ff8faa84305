"""What all commands have in common: how their help looks, what -q and -v do."""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from typer.core import TyperArgument, TyperCommand, TyperGroup

from deepscan.errors import UsageError

#: Number of -v -> lowest level of the log that is shown. Without -v, a command's own notes tell what matters.
LEVELS = (logging.ERROR, logging.INFO, logging.DEBUG)
#: What a log line begins with; nothing for INFO.
PREFIXES = {logging.DEBUG: "debug: ", logging.WARNING: "warning: ", logging.ERROR: "error: "}


class _StderrHandler(logging.Handler):
    """Writes each message as a plain line, above a progress bar if there is one."""

    def emit(self, record: logging.LogRecord) -> None:
        from deepscan.scanning.summary import printable

        try:
            message = " ".join(record.getMessage().split())
            # Looked up at each call: while rich draws a bar, it puts lines above it.
            sys.stderr.write(f"{PREFIXES.get(record.levelno, '')}{printable(message)}\n")
        except Exception:
            self.handleError(record)


@contextmanager
def log_to_stderr(verbose: int) -> Iterator[None]:
    """Show the log of deepscan on stderr while the context lasts.

    Args:
        verbose: 0 for errors only, 1 for INFO and above, 2 or more for DEBUG and above.
    """
    logger, handler = logging.getLogger("deepscan"), _StderrHandler()
    level = LEVELS[min(verbose, len(LEVELS) - 1)]
    before = logger.level
    handler.setLevel(level)
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def _no_type(ctx: Any) -> str | None:
    return None


def _usage_name(param: TyperArgument) -> str:
    name = param.display_name_raw if param.required else f"[{param.display_name_raw}]"
    return name if param.nargs == 1 else f"{name}..."


class _PlainHelp:
    """Shows flags and arguments without a type: `--resume` instead of `--resume <bool>`."""

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the command that it is mixed into
        for param in params:
            if getattr(param, "is_flag", False) or getattr(param, "count", False):
                param.metavar = ""
            elif isinstance(param, TyperArgument):
                # Its name is shown already, and its type tells nothing more.
                param.display_type_rich = _no_type  # type: ignore[method-assign]
                # typer puts one that is required into braces.
                param._usage_display_name = partial(_usage_name, param)  # type: ignore[method-assign]
        return params


class Command(_PlainHelp, TyperCommand):
    """A command; `--quiet` and `--verbose` mean the same for each that has them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with its log on stderr.

        Raises:
            UsageError: Both options were given.
        """
        quiet, verbose = ctx.params.get("quiet", False), ctx.params.get("verbose", 0)
        if quiet and verbose:
            raise UsageError("--quiet and --verbose exclude each other", "leave one of them out")
        if quiet and "progress" in ctx.params:
            ctx.params["progress"] = "none"
        with log_to_stderr(verbose):
            return super().invoke(ctx)


class CommandGroup(_PlainHelp, TyperGroup):
    """A group of commands."""
