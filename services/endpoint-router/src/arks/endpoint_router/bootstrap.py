"""Prints the file that an Envoy of this router starts with: `python -m arks.endpoint_router.bootstrap > envoy.json`."""

import sys

from arks.endpoint_router.config import Settings
from arks.endpoint_router.envoy import ads_bootstrap, to_json

NODE_ID = "arks"


def bootstrap_json(settings: Settings, node_id: str = NODE_ID) -> str:
    """The text of a bootstrap file; its name must end in .json."""
    return to_json(
        ads_bootstrap(
            node_id, settings.xds_host, settings.xds_port, settings.envoy_admin_port, settings.envoy_heap_bytes
        )
    )


if __name__ == "__main__":
    sys.stdout.write(bootstrap_json(Settings(), *sys.argv[1:2]))
