"""Detectors: one file a method, each with its network, loss and recipe."""
