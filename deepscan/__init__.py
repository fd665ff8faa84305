"""Batch video forensics: which videos show a manipulated face, how sure that is, and why."""

__version__ = "0.1.0"
