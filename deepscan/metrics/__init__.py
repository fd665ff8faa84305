"""Metrics computed from scores and labels: AUC, EER, average precision, and their confidence intervals."""
