"""The version of deepscan."""

__version__ = "0.1.0"
