"""Augmentation of training crops: random changes, and fakes made from real faces."""
