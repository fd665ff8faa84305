"""Probe, sample and decode files in isolated worker processes."""
