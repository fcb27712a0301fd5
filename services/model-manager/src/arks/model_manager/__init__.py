"""model-manager."""
