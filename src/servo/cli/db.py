"""``servo db``: looking after the database of a control plane."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import click

from servo import errors
from servo.cli import _db_report, _output
from servo.cli._session import Session, pass_session
from servo.cli._state import StateFiles

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_is_age = re.compile(r"([0-9]{1,6})([smhdw])", re.ASCII).fullmatch

_database_option = click.option(
    "--database",
    default="",
    metavar="PATH|URL",
    help="The SQLite file, or the postgresql:// URL (default: SERVO_DATABASE_URL, else the "
    "project's own database). A URL with a password in it is visible to everybody on the machine.",
)


class _Age(click.ParamType):  # type: ignore[type-arg]  # older clicks have it not generic
    """How long ago something was."""

    name = "age"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        found = _is_age(str(value))
        if found is None:
            self.fail(f"{value!r} is no age; write 12h, 30d or 8w", param, ctx)
        try:
            return datetime.now(UTC) - timedelta(**{_UNITS[found[2]]: int(found[1])})
        except OverflowError:
            self.fail(f"{value!r} is longer ago than there is a calendar for", param, ctx)


@click.group()
def db() -> None:
    """Look after the database of a control plane, on the machine where it is.

    These commands open the database itself instead of calling a control plane. What changes it
    (migrate, restore, prune) refuses while a control plane is at work on it; check and backup may
    run at any time.
    """


@db.command()
@_database_option
@click.option("--dry-run", is_flag=True, help="Only list what would be applied.")
@_output.json_option
@pass_session
def migrate(session: Session, database: str, dry_run: bool, as_json: bool) -> None:
    """Bring the schema to the one of this version of Servo.

    A control plane with a SQLite file does so by itself when it starts. A PostgreSQL database is
    migrated by this command, while no control plane uses it.
    """
    from servo.controlplane.store import admission, migrate

    location = _location(session, database)
    if isinstance(location, Path):
        admission.require_file(location)
    if dry_run:
        names = migrate.pending(location)
    elif isinstance(location, Path):
        with admission.locked(location):
            names = migrate.migrate(location)
    else:
        names = migrate.migrate(location)
    if as_json:
        _print_document(
            {"database": _name(location), "dry_run": dry_run, "migrations": list(names)}
        )
        return
    verb = "Would apply" if dry_run else "Applied"
    for name in names:
        _output.echo(f"{verb} {name}")
    if not names:
        _output.echo(f"{_name(location)} has the newest schema.")


@db.command()
@_database_option
@_output.json_option
@pass_session
def check(session: Session, database: str, as_json: bool) -> int:
    """Check the database: file, schema, and everything that is promised of its contents.

    Compares what is stored of each run with what its history says, and materialisations with the
    tasks that made them. Changes nothing. The exit code is 1 when something is wrong.
    """
    from servo.controlplane.store import checking

    location = _location(session, database)
    with _db_report.Progress() as progress:
        found = checking.check(location, progress)
    if as_json:
        _print_document(_db_report.findings(_name(location), found))
    else:
        _db_report.print_findings(_name(location), found)
    return 0 if found.is_sound else 1


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_database_option
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@_output.json_option
@pass_session
def backup(session: Session, file: Path, database: str, force: bool, as_json: bool) -> None:
    """Copy the database to FILE, complete and verified, also while it is in use.

    It holds what the control plane knows. The tables that were made are files of their own, and
    are backed up with them.
    """
    location = _location(session, database)
    if not isinstance(location, Path):
        raise _use_postgres_tools(location, f"pg_dump --format=custom --file={_quoted(file)}")
    from servo.controlplane.store import backup as copies

    with _db_report.Progress() as progress:
        made = copies.back_up(location, file, replace=force, progress=progress)
    if as_json:
        _print_document({"file": str(file), "schema": made.schema, "size": made.size})
    else:
        _output.echo(f"{file}: {_output.size(made.size)}, schema {made.schema}, verified.")


@db.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path), required=False)
@_database_option
@click.option("--force", is_flag=True, help="Replace the database; it is kept beside.")
@click.option(
    "--after-pg-restore",
    is_flag=True,
    help="PostgreSQL: pg_restore is done; let what workers began before not count any more.",
)
@_output.json_option
@pass_session
def restore(
    session: Session,
    /,
    *,
    file: Path | None,
    database: str,
    force: bool,
    after_pg_restore: bool,
    as_json: bool,
) -> None:
    """Put the backup FILE in the place of the database.

    What runs have made since the backup is forgotten, and runs that were active then go on. Work
    that workers began under the other history does not count: they drop it when they connect.
    """
    from servo.controlplane.store import backup as copies
    from servo.controlplane.store import renewing

    location = _location(session, database)
    if not isinstance(location, Path):
        if not after_pg_restore:
            raise _use_postgres_tools(
                location,
                f"pg_restore --clean --if-exists --single-transaction {_quoted(file or 'FILE')}",
                "; afterwards run `servo db restore --after-pg-restore`",
            )
        renewing.renew(location)
        if as_json:
            _print_document({"database": _name(location), "renewed": True})
        else:
            _output.echo(f"{_name(location)} begins a history of its own.")
        return
    if file is None or after_pg_restore:
        raise click.UsageError("a SQLite database is restored from FILE, by this command")
    with _db_report.Progress() as progress:
        made = copies.restore(file, location, replace=force, progress=progress)
    if as_json:
        kept = None if made.kept is None else str(made.kept)
        _print_document({"database": str(location), "kept": kept, "schema": made.schema})
        return
    _output.echo(f"{location}: restored from {file}, schema {made.schema}.")
    if made.kept is not None:
        _output.note(f"The database that was there is {made.kept}.")


@db.command()
@_database_option
@click.option(
    "--older-than",
    "runs_before",
    type=_Age(),
    metavar="AGE",
    help="Forget runs that ended so long ago, such as 30d or 12h.",
)
@click.option(
    "--logs-older-than",
    "logs_before",
    type=_Age(),
    metavar="AGE",
    help="Forget the logs of runs that ended so long ago, also where the run stays.",
)
@click.option(
    "--keep-runs",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Keep the newest N runs of each workspace, however old they are.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be forgotten.")
@_output.json_option
@pass_session
def prune(
    session: Session,
    /,
    *,
    database: str,
    runs_before: datetime | None,
    logs_before: datetime | None,
    keep_runs: int,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Forget what is old: runs that have ended, their logs, the history, unused deployments.

    A run stays as long as anything depends on it: it has not ended; it made, or made the input
    of, what is current in a partition; a run that stays is a rerun of it. The tables that were
    made are not touched.
    """
    from servo.controlplane.store import pruning

    if runs_before is None and logs_before is None:
        raise click.UsageError("say what is old: --older-than 30d, --logs-older-than 7d, or both")
    location = _location(session, database)
    wanted = pruning.Wanted(runs_before=runs_before, logs_before=logs_before, keep_runs=keep_runs)
    reclaimed, problem = 0, ""
    with _db_report.Progress() as progress:
        if dry_run:
            pruned = pruning.plan(location, wanted, progress)
        else:
            pruned = pruning.prune(location, wanted, progress)
            try:
                reclaimed = pruning.compact(location, progress)
            except errors.FilesystemError as exc:
                problem = str(exc)
    if as_json:
        _print_document(_db_report.pruned(_name(location), pruned, dry_run, reclaimed))
    else:
        _db_report.print_pruned(_name(location), pruned, dry_run, reclaimed)
    if problem:
        _output.warn(f"everything was forgotten, but the file did not get smaller: {problem}")


def _location(session: Session, given: str) -> Path | str:
    from servo.controlplane.store import address

    wanted = given or session.settings.database_url
    if wanted:
        return address.parse(wanted)
    return StateFiles(session.project.state_dir).database


def _name(location: Path | str) -> str:
    from servo.controlplane.store import address

    return address.masked(location)


def _quoted(file: Path | str) -> str:
    return shlex.quote(str(file))


def _use_postgres_tools(url: str, command: str, then: str = "") -> errors.ConfigurationError:
    from servo.controlplane.store import address

    return errors.ConfigurationError(
        f"PostgreSQL brings its own tools for that. Run\n\n"
        f"    {command} --dbname='{address.without_password(url)}'\n\n"
        f"with the password in PGPASSWORD or ~/.pgpass{then}",
        code="USE_POSTGRES_TOOLS",
    )


def _print_document(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
