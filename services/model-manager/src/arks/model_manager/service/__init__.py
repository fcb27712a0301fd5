"""Use cases of model-manager, and the ports that they need."""
