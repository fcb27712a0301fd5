"""TLS at the gateway: the listener's part, and the file on Envoy's machine that names the certificate.

The router never sends the private key. The listener names a file on Envoy's machine, this file names certificate and
key, and Envoy watches their directory. When a new pair is moved into it, as the kubelet does after a change of the
Secret, new connections use the new pair; open ones go on.
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
"""Keys of a Secret of type kubernetes.io/tls."""
HANDSHAKE_SECONDS = 10.0


def filter_chain_tls(source_path: str) -> dict[str, Any]:
    """Return the TLS part of a filter chain. `source_path`: a file with the result of `certificate_source`."""
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
    """Return a message that names the pair in this directory, where a move must replace both files at once."""
    certificate = {
        "certificate_chain": {"filename": f"{directory}/{CERTIFICATE_FILE}"},
        "private_key": {"filename": f"{directory}/{KEY_FILE}"},
        "watched_directory": {"path": directory},
    }
    return message(DiscoveryResponse, {"resources": [extension(Secret, name=CERTIFICATE, tls_certificate=certificate)]})
