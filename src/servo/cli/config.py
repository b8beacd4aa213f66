"""``servo config``: what is configured, where it comes from, and whether it works."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from servo.cli import _output
from servo.cli._session import Session, pass_session

if TYPE_CHECKING:
    from servo.cli._server_check import Finding
    from servo.config import Setting


@click.group()
def config() -> None:
    """Show and check the configuration.

    Settings come from [tool.servo] in pyproject.toml, servo.toml, the chosen profile, .env,
    SERVO_* in the environment and options; each wins over those before it.
    """


@config.command()
@click.option("--explain", is_flag=True, help="Say for each setting what its value won over.")
@_output.json_option
@pass_session
def show(session: Session, explain: bool, as_json: bool) -> None:
    """Show every setting, its value and its source; secrets are masked."""
    settings = list(session.settings.describe())
    if as_json:
        _print_document({item.name: _document(item) for item in settings})
        return
    profile = session.settings.profile
    _output.echo(
        f"Settings of {session.directory.root}" + (f", profile {profile}" if profile else "")
    )
    if explain:
        _explain(settings)
        return
    _output.table(
        ("setting", "~value", "~source", "~meaning"),
        ((item.key, item.value, item.source, item.doc) for item in settings),
    )


@config.command()
@_output.json_option
@pass_session
def check(session: Session, as_json: bool) -> int:
    """Call the control plane and say what works.

    Looks at the address, the connection, TLS, the key, the tenant and its workspace, the versions
    of both sides, and how long an answer takes. The exit code is 0 when all of it works, else that
    of the first error: 69 unreachable, 77 key refused, 78 wrong settings.
    """
    from servo.cli._server_check import check_server

    report = check_server(session)
    if as_json:
        _print_document(
            {
                "checks": [
                    {"name": one.name, "status": one.status.value, "detail": one.detail}
                    for one in report.findings
                ],
                "exit_code": report.exit_code,
                "ok": report.exit_code == 0,
                "url": report.url,
            }
        )
    else:
        _output.echo(f"Control plane: {report.url or 'embedded'}")
        _print_findings(report.findings)
    return report.exit_code


def _document(item: Setting) -> dict[str, Any]:
    return {
        "beat": [{"source": one.source, "value": one.value} for one in item.beaten],
        "description": item.doc,
        "key": item.key,
        "source": item.source,
        "value": item.value,
        "variable": item.variable,
    }


def _explain(settings: Iterable[Setting]) -> None:
    for item in settings:
        _output.echo(f"{item.key} = {item.value or '(empty)'}  [{item.source}]")
        for one in item.beaten:
            _output.echo(f"    beat {one.value or '(empty)'}  [{one.source}]")


def _print_findings(findings: Iterable[Finding]) -> None:
    _output.table(
        ("check", "result", "~detail"),
        ((one.name, one.status.value, one.detail) for one in findings),
    )


def _print_document(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
