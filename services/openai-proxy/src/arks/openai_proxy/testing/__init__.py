"""What tests start around the proxy. Not used by the service."""
