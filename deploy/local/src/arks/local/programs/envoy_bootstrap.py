"""Write the configuration that Envoy starts with. A program of its own: importing Envoy's types takes 30 MB."""

import argparse
from pathlib import Path

from arks.endpoint_router.adapters.envoy import ads_bootstrap, to_json
from arks.kit.files import write_atomically
from arks.local.plan.addresses import HOST

NODE_ID = "local"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--xds-socket", required=True)
    parser.add_argument("--admin-socket", required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    sockets = {"ads_socket": arguments.xds_socket, "admin_socket": arguments.admin_socket}
    text = to_json(ads_bootstrap(NODE_ID, HOST, 0, 0, **sockets))
    write_atomically(arguments.output, text)


if __name__ == "__main__":
    main()
