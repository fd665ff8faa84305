"""Where training by sharpness-aware minimisation collapses."""
