"""Addresses of the programs: the host, and the names of their ports. Pure."""

HOST = "127.0.0.1"
DEFAULT_GATEWAY_PORT = 8080
GATEWAY = "gateway"
"""Name of the gateway's port."""
PORT_NAMES = (
    "nats",
    "valkey",
    "model-manager",
    "app-deployer",
    "metrics",
    "endpoint-router",
    "token-quota",
    "usage-meter",
    "usage-shipper",
)
"""All ports except the gateway's, which users choose. A service's own name: its port for health and metrics."""


def gateway_url(port: int) -> str:
    """Base URL for OpenAI clients."""
    return f"http://localhost:{port}/v1"
