"""endpoint-router."""
