"""Print the files that an Envoy starts with.

python -m arks.endpoint_router.programs.bootstrap [NODE] > envoy.json
python -m arks.endpoint_router.programs.bootstrap --certificate DIRECTORY > certificate.json
"""

import argparse
import sys

from arks.endpoint_router.adapters.envoy import ads_bootstrap, certificate_source, to_json
from arks.endpoint_router.config import Settings

NODE_ID = "arks"


def bootstrap_json(settings: Settings, node_id: str = NODE_ID) -> str:
    """Return the text of a bootstrap file; its name must end in .json."""
    return to_json(
        ads_bootstrap(
            node_id,
            settings.xds_host,
            settings.xds_port,
            settings.envoy_admin_port,
            heap_bytes=settings.envoy_heap_bytes,
            stats_port=settings.envoy_stats_port,
            ads_socket=str(settings.xds_socket) if settings.xds_socket else None,
            admin_socket=str(settings.envoy_admin_socket) if settings.envoy_admin_socket else None,
        )
    )


def certificate_json(directory: str) -> str:
    """Return the text of the file that GATEWAY_CERTIFICATE_SOURCE names; its name must end in .json."""
    return to_json(certificate_source(directory))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("node", nargs="?", default=NODE_ID)
    parser.add_argument(
        "--certificate", metavar="DIRECTORY", help="directory with tls.crt and tls.key, on Envoy's machine"
    )
    arguments = parser.parse_args()
    directory = arguments.certificate
    sys.stdout.write(certificate_json(directory) if directory else bootstrap_json(Settings(), arguments.node))


if __name__ == "__main__":
    main()
