"""Embedded, installed and published models: look up, download, import and choose them."""
