"""Evaluation: protocols, counting, figures with intervals, the papers' tables."""
