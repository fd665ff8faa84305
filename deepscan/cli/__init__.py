"""The command line: parse, call, print. Nothing else in deepscan knows about typer or rich."""

from deepscan.cli.app import main

__all__ = ["main"]
