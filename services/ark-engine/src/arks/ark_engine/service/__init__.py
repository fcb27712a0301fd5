"""Use cases of ark-engine and the protocols that they need."""
