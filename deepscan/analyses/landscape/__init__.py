"""The loss around a model's weights."""
