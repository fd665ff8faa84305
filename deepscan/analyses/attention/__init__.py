"""Analysis of a detector's attention."""
