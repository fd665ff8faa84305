"""The scan: inputs, pipeline, aggregation, calibration, records, resume."""
