"""What tests start around the gateway. Not used by the service."""
