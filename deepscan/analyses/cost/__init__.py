"""Analysis of the cost of a model."""
