"""The file that holds an API key."""

from pathlib import Path

from arks.local.cli.failure import Exit, fail


def read_key(file: Path) -> str:
    """The API key in the file. Raises Failure."""
    from arks.contracts.api_key import is_key

    try:
        key = file.expanduser().read_text().strip()
    except OSError as error:
        fail(
            f"cannot read the API key from {file}: {error.strerror or error}",
            "name another file with --key-file FILE; `arks token create NAME --key-file FILE` writes one",
            Exit.USAGE,
        )
    if not is_key(key):
        fail(f"{file} does not contain an API key", "it must contain the key and nothing else", Exit.USAGE)
    return key
