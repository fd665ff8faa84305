"""Analysis of the collapse of training with sharpness-aware minimisation."""
