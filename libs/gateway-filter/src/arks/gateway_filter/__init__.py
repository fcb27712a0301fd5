"""Where the gateway's filter is: the shared library that Envoy loads as a dynamic module.

    MODULE                   the module's name in Envoy's configuration
    SEARCH_PATH              the environment variable by which Envoy finds modules
    FAULTS                   the counter, in Envoy's statistics, of calls of the filter that failed
    library_directory()      the directory that holds libarks.so

The build of this package compiles the library (tools/hatch_cargo.py). Nothing in Python loads it.
"""

from pathlib import Path

MODULE = "arks"
FAULTS = "dynamicmodulescustom.faults"
SEARCH_PATH = "ENVOY_DYNAMIC_MODULES_SEARCH_PATH"


def library_directory() -> Path:
    """Return the directory that holds libarks.so, the value of SEARCH_PATH.

    Raises FileNotFoundError if the package was not built.
    """
    directory = Path(__file__).parent
    if not (directory / f"lib{MODULE}.so").is_file():
        raise FileNotFoundError(f"{directory}/lib{MODULE}.so is missing: build it with `make sync`")
    return directory
