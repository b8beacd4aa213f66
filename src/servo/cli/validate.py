"""``servo validate``: is the project in order?"""

from __future__ import annotations

import json

import click

from servo.cli import _build, _output
from servo.cli._session import Session, pass_session
from servo.types.partitions import StaticDimension


@click.command()
@_output.json_option
@pass_session
def validate(session: Session, as_json: bool) -> None:
    """Import the project's modules and check its assets; writes nothing.

    Every problem is listed: modules that cannot be imported, unknown upstreams, cycles,
    impossible mappings. Exits with 2 if there is one.
    """
    from servo.manifest import build_project

    _build.warn_of_clashes(session.project)
    manifest = build_project(session.project, frozen=False, write_lockfile=False)
    partitioned = sum(item.partitioning.is_partitioned for item in manifest.assets)
    checks = sum(len(item.checks) for item in manifest.assets)
    if as_json:
        document = {
            "assets": len(manifest.assets),
            "checks": checks,
            "contentFingerprint": manifest.fingerprint(),
            "partitioned": partitioned,
            "project": session.project.name,
        }
        click.echo(json.dumps(document, sort_keys=True, separators=(",", ":")))
        return
    _output.echo(
        f"{session.project.name} is in order: {_output.count(len(manifest.assets), 'asset')} "
        f"({partitioned} partitioned), {_output.count(checks, 'check')}."
    )
    for item in manifest.assets:
        for dimension in item.partitioning.dimensions:
            if isinstance(dimension, StaticDimension) and (alike := dimension.alike()):
                _output.warn(
                    f"{item.key}: the values {alike[0]!r} and {alike[1]!r} of dimension "
                    f"{dimension.name!r} differ in case only, which some file systems do not tell "
                    f"apart; there the second of them cannot be published"
                )
    for lacking in _build.missing_libraries(manifest.assets):
        _output.warn(f"they cannot run here: {lacking}")
