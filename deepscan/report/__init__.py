"""The HTML page of a scan, made from its records only."""
