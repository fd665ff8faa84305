"""Aligned face crops, cut and kept: for training from pictures, for benchmarks from videos."""
