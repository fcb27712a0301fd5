"""HTTP API of endpoint-router."""
