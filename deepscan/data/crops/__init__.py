"""Aligned face crops on disk, cut from pictures for training and from videos for benchmarks."""
