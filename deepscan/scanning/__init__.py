"""Scan files: paths, pipeline, records, verdicts, journal, resuming."""
