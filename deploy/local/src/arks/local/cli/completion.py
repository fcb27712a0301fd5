"""`arks completion`: a completion script for a shell."""

from enum import StrEnum
from typing import Annotated

import typer

from arks.local.cli.output import print_text


class Shell(StrEnum):
    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> None:
    """Print a completion script: commands, options, kinds and names.

    \b
    source <(arks completion bash)
    arks completion zsh > ~/.zfunc/_arks
    arks completion fish > ~/.config/fish/completions/arks.fish
    """
    from typer._completion_shared import get_completion_script

    print_text(get_completion_script(prog_name="arks", complete_var="_ARKS_COMPLETE", shell=shell))
