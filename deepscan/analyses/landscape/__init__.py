"""Analysis of the loss landscape around a model's weights."""
