"""``servo config``: what is configured, and where it comes from."""

from __future__ import annotations

import json

import click

from servo.cli import _output
from servo.cli._session import Session, pass_session


@click.group()
def config() -> None:
    """Show the configuration.

    Settings come from [tool.servo] in pyproject.toml, from SERVO_* in the environment and from
    options; each wins over those before it.
    """


@config.command()
@_output.json_option
@pass_session
def show(session: Session, as_json: bool) -> None:
    """Show every setting, its value and its source; secrets are masked."""
    settings = list(session.project.settings.describe())
    if as_json:
        document = {
            item.name: {"description": item.doc, "source": item.source, "value": item.value}
            for item in settings
        }
        click.echo(json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
        return
    click.echo(f"Project {session.project.name} in {session.project.root}")
    _output.table(
        ("setting", "value", "source", "meaning"),
        ((item.name, item.value, item.source, item.doc) for item in settings),
    )
