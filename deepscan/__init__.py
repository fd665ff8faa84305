"""Batch video forensics: which videos show a manipulated face, how sure that is, and why."""

from deepscan.version import __version__ as __version__
