"""Use cases of endpoint-router and the protocols that they need."""
