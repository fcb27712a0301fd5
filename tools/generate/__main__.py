"""`python -m tools.generate [--check] [--root DIR]`: writes the CRDs, the READMEs of the charts and docs/resources.md.

With `--check` nothing is written: the exit status is 1 when a file differs from what is generated.
"""

import argparse
import sys
from pathlib import Path

from tools.generate.files import generated_files, stale_files, write_files


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="only list the files that are out of date")
    parser.add_argument("--root", type=Path, default=Path.cwd(), help="root of the repository (default: here)")
    options = parser.parse_args(arguments)
    files = generated_files()
    stale = stale_files(options.root, files)
    if options.check:
        for path in stale:
            sys.stderr.write(f"{path} is out of date: run python -m tools.generate\n")
        return 1 if stale else 0
    write_files(options.root, files, stale)
    sys.stdout.write(f"{len(files)} files, {len(stale)} changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
