"""Use cases of openai-proxy and the protocols that they need."""
