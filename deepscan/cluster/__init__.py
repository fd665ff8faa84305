"""Scan on the machines of a Ray cluster; only a scan with `--cluster` imports Ray."""
