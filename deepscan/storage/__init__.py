"""Objects in object stores and on web servers: addresses, errors, listings, fetching."""
