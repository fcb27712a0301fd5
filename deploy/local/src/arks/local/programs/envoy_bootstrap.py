"""Writes the file that Envoy starts with. A program of its own: the supervisor need not load Envoy's 30 MB of types."""

import argparse
import os
from pathlib import Path

from arks.endpoint_router.adapters.envoy import ads_bootstrap, to_json
from arks.local.plan.ports import HOST

NODE_ID = "local"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--xds-port", type=int, required=True)
    parser.add_argument("--admin-port", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    text = to_json(ads_bootstrap(NODE_ID, HOST, arguments.xds_port, arguments.admin_port))
    temporary = arguments.output.with_suffix(f".{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(arguments.output)


if __name__ == "__main__":
    main()
