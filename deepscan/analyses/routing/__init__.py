"""Analysis of the routing of crops through a network."""
