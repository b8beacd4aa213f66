"""``servo keys``: who may call the control plane."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from servo import errors
from servo.cli import _output
from servo.cli._session import Session, pass_session
from servo.types.access import ANY_WORKSPACE, ApiKey, ListKeysResponse, Role

_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_is_length = re.compile(r"([1-9][0-9]{0,5})([mhdw])", re.ASCII).fullmatch
_tenant_option = click.option(
    "--tenant", metavar="ID", help="The tenant whose keys they are (default: the configured one)."
)


class _Expiry(click.ParamType):  # type: ignore[type-arg]  # older clicks have it not generic
    """A length of time from now, a day, or ``never``."""

    name = "expiry"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | None:
        text = str(value)
        if text == "never":
            return None
        if (length := _is_length(text)) is not None:
            return datetime.now(UTC) + timedelta(**{_UNITS[length[2]]: int(length[1])})
        try:
            day = datetime.fromisoformat(text)
        except ValueError:
            self.fail(
                f"{text!r} is no time to expire; write a length such as 12h, 30d or 4w, a moment "
                "such as 2030-01-31, or never",
                param,
                ctx,
            )
        return day if day.tzinfo else day.replace(tzinfo=UTC)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys.

    A key is for one tenant, for one of its workspaces or all of them, and for one role: a viewer
    looks, an operator also runs, a deployer also deploys, a worker executes tasks and nothing
    else, an admin does everything, keys included. Managing keys takes an admin's key, such as the
    one that the control plane was started with.
    """


@keys.command()
@click.option(
    "--role",
    type=click.Choice([role.value for role in Role]),
    required=True,
    help="What it may do.",
)
@click.option("--name", default="", metavar="TEXT", help="What it is for, for people.")
@_tenant_option
@click.option(
    "--workspace",
    default="",
    metavar="ID",
    help="The workspace that it is for, '*' for all (default: the configured one).",
)
@click.option(
    "--expires",
    type=_Expiry(),
    default="90d",
    show_default=True,
    metavar="WHEN",
    help="When it ends: 12h, 30d, 4w, a date (UTC), or never.",
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the key to FILE, readable by you only, instead of printing it.",
)
@_output.json_option
@pass_session
def create(
    session: Session,
    /,
    *,
    role: str,
    name: str,
    tenant: str | None,
    workspace: str,
    expires: datetime | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Make a key and print it, or write it to a file: it cannot be shown again.

    With --out the file appears in one step, with mode 0600 whatever the umask; one that is there is
    replaced, which is how a worker that reads SERVO_API_KEY_FILE gets a new key. With --json the
    document has no key then.
    """
    if out is not None:
        _check_writable(out)
    session.override(tenant_id=tenant)
    with session.connect() as connection:
        made = connection.client.keys.create(
            Role(role), name=name, workspace_id=workspace, expires_at=expires
        )
        if out is not None:
            try:
                _write_key(out, made.api_key)
            except OSError as exc:
                # A key that nobody can read is of no use.
                connection.client.keys.revoke(made.key.key_id)
                raise errors.FilesystemError(
                    f"the key cannot be written to {str(out)!r}: {exc.strerror}; it was revoked"
                ) from exc
            made = replace(made, api_key="")
    if as_json:
        _output.print_json(made)
        return
    key = made.key
    about = f"Key {key.key_id}: {key.role} of {_scope(key)}, {_end(key)}."
    if out is not None:
        _output.echo(f"{about} It is in {str(out)!r}: SERVO_API_KEY_FILE={out}")
        return
    # The key alone on standard output, so that it can be piped to where it is kept.
    click.echo(made.api_key)
    _output.note(
        f"{about} It is not kept and cannot be shown again; whoever has it may use it, as "
        f"SERVO_API_KEY. --out FILE writes it to a file that only you can read."
    )


@keys.command("list")
@_tenant_option
@_output.json_option
@pass_session
def list_(session: Session, tenant: str | None, as_json: bool) -> None:
    """List the keys of a tenant, also those that have ended; never their text."""
    session.override(tenant_id=tenant)
    with session.connect() as connection:
        found = list(connection.client.keys.list())
    if as_json:
        _output.print_json(ListKeysResponse(keys=tuple(found)))
    elif not found:
        _output.echo("There are no keys.")
    else:
        _output.table(
            ("key", "role", "workspace", "created", "end", "~name"),
            (
                (
                    key.key_id,
                    key.role.value,
                    key.workspace_id,
                    _output.when(key.created_at),
                    _end(key),
                    key.name,
                )
                for key in found
            ),
        )


@keys.command()
@click.argument("key_id")
@_tenant_option
@_output.json_option
@pass_session
def revoke(session: Session, key_id: str, tenant: str | None, as_json: bool) -> None:
    """End a key, at once and for good, with every stream that it opened.

    KEY_ID is what `servo keys list` shows: the eight characters after servo_ in the key.
    """
    session.override(tenant_id=tenant)
    with session.connect() as connection:
        key = connection.client.keys.revoke(key_id)
    if as_json:
        _output.print_json(key)
    else:
        _output.echo(f"Key {key.key_id} is {_end(key)}.")


def _check_writable(out: Path) -> None:
    """Refuse a place where the key could not be written, before there is one."""
    if out.exists() and not out.is_file():
        raise errors.InvalidArgumentError(f"--out {str(out)!r} is not a regular file")
    parent = out.resolve().parent
    if not (parent.is_dir() and os.access(parent, os.W_OK | os.X_OK)):
        raise errors.FilesystemError(
            f"--out {str(out)!r}: the directory {str(parent)!r} does not exist or cannot be "
            f"written to; no key was made"
        )


def _write_key(out: Path, key: str) -> None:
    from servo.manifest import atomic

    atomic.write(out.resolve(), f"{key}\n".encode(), mode=0o600)


def _scope(key: ApiKey) -> str:
    if key.workspace_id == ANY_WORKSPACE:
        return f"every workspace of tenant {key.tenant_id!r}"
    return f"workspace {key.workspace_id!r} of tenant {key.tenant_id!r}"


def _end(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return f"revoked {_output.when(key.revoked_at)}"
    if key.expires_at is None:
        return "never expires"
    verb = "expired" if key.expires_at <= datetime.now(UTC) else "expires"
    return f"{verb} {_output.when(key.expires_at)}"
