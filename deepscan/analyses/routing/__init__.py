"""How crops are routed through a network."""
