"""TLS at the gateway: what the listener says of it, and the file beside Envoy that names the certificate.

The private key is never sent by the router. The listener names a file on Envoy's machine, this file names certificate
and key, and Envoy watches their directory: a pair that is moved into place there, as the kubelet does when a Secret
changes, is what new connections get. Those that are open go on.
"""

from typing import Any

from arks.endpoint_router.adapters.envoy.messages import (
    DiscoveryResponse,
    DownstreamTlsContext,
    Secret,
    extension,
    message,
    seconds,
)

CERTIFICATE = "gateway"
"""Name of the certificate in its file."""
CERTIFICATE_FILE, KEY_FILE = "tls.crt", "tls.key"
"""As a Secret of type kubernetes.io/tls calls them."""
HANDSHAKE_SECONDS = 10.0


def filter_chain_tls(source_path: str) -> dict[str, Any]:
    """What a filter chain needs besides its filters. `source_path`: a file with what `certificate_source` returns."""
    source = {"path_config_source": {"path": source_path}, "resource_api_version": "V3"}
    context = extension(
        DownstreamTlsContext,
        common_tls_context={
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [{"name": CERTIFICATE, "sds_config": source}],
        },
    )
    return {
        "transport_socket": {"name": "tls", "typed_config": context},
        "transport_socket_connect_timeout": seconds(HANDSHAKE_SECONDS),
    }


def certificate_source(directory: str) -> DiscoveryResponse:
    """Names the pair in this directory, whose content changes all at once by a move into it."""
    certificate = {
        "certificate_chain": {"filename": f"{directory}/{CERTIFICATE_FILE}"},
        "private_key": {"filename": f"{directory}/{KEY_FILE}"},
        "watched_directory": {"path": directory},
    }
    return message(DiscoveryResponse, {"resources": [extension(Secret, name=CERTIFICATE, tls_certificate=certificate)]})
