"""Measuring: metrics on scores and labels."""
