"""Which models there are: embedded, installed and published ones; fetching, importing and choosing them."""
