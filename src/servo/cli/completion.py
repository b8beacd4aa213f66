"""``servo completion``: completion scripts for shells."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": 'eval "$(servo completion bash)"   # in ~/.bashrc',
    "zsh": 'eval "$(servo completion zsh)"    # in ~/.zshrc',
    "fish": "servo completion fish > ~/.config/fish/completions/servo.fish",
}


@click.command(epilog="\b\n" + "\n".join(_HOW.values()))
@click.argument("shell", type=click.Choice(tuple(_HOW)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(ctx.find_root().command, {}, "servo", "_SERVO_COMPLETE").source())
