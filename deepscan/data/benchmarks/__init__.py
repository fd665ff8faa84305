"""Benchmarks that others give out: files that list face crops, and folders of pictures."""
