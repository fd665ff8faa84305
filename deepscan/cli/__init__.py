"""The command line: parse, call, print. No other part of deepscan imports typer or rich."""

from deepscan.cli.app import main

__all__ = ["main"]
