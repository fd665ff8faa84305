"""Published detectors as models of ours: what is known of them, fetching, importing, keeping, choosing."""
