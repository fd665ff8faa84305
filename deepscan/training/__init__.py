"""Training: the loop, its recipe and its checkpoints."""
