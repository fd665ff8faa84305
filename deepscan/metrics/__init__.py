"""Metrics of scores and labels: AUC, EER, average precision, and their intervals; numbers in, numbers out."""
