"""Third-party benchmarks: files that list face crops, and folders of pictures."""
