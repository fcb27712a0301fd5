"""What tests start around the engine. Not used by the service."""
