"""Write the HTML page of a scan, from its records alone."""
