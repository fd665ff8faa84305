"""Frames and their times: probing, sampling and decoding behind a fence of worker processes."""
