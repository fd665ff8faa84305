"""The scan: paths, pipeline, records, verdicts, journal, resuming."""
