"""Measuring speed as a user meets it: stages alone, the whole scan, and the machine beside the figures."""
