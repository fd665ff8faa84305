"""Speed as users experience it: single stages, the whole scan, and the machine they were measured on."""
