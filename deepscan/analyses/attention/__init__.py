"""Where a detector looks."""
