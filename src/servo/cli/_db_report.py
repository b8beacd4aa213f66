"""What `servo db` tells: how far it is, what it found, what it has forgotten."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import click

from servo.cli import _output

if TYPE_CHECKING:
    from servo.controlplane.store.findings import Findings
    from servo.controlplane.store.pruning import Pruned

_REDRAW: Final = 0.1
_GONE: Final = {
    "runs": "run",
    "tasks": "task",
    "materializations": "materialisation",
    "events": "event",
    "deployments": "deployment",
    "chunks": "chunk",
}
_KEPT: Final = {
    "active": "active",
    "young": "young enough",
    "newest": "among the newest",
    "lineage": "made something that is current, or an input of it",
    "named": "repeated by a run that stays",
}


class Progress:
    """Tells people on a terminal how far something is; silent elsewhere."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._drawn = 0.0
        self._what = ""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._what:
            click.echo("\r\x1b[K", nl=False, err=True)

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._is_shown or (what == self._what and now - self._drawn < _REDRAW):
            return
        self._what, self._drawn = what, now
        share = f" {done:,} of {total:,}" if total else " ..."
        click.echo(f"\r\x1b[K{what}{share}", nl=False, err=True)


def findings(name: str, found: Findings) -> dict[str, Any]:
    """Return what a look at a database has found, for programs."""
    return {
        "database": name,
        "left_out": found.left_out,
        "ok": found.is_sound,
        "problems": [
            {
                "message": one.message,
                "name": one.name,
                "remedy": one.remedy,
                "subject": one.subject,
            }
            for one in found.problems
        ],
        "seen": dict(found.seen),
    }


def print_findings(name: str, found: Findings) -> None:
    """Say for people what a look at a database has found."""
    seen = ", ".join(f"{count:,} {what}" for what, count in sorted(found.seen.items()) if count)
    if found.is_sound:
        _output.echo(f"{name} is sound: {seen or 'it is empty'}.")
        return
    for one in found.problems:
        _output.echo(f"{one.name}: {one.subject}: {one.message}")
    for kind, count in found.left_out.items():
        _output.echo(f"{kind}: {count:,} more")
    for remedy in dict.fromkeys(one.remedy for one in found.problems):
        _output.note(f"What to do: {remedy}")


def pruned(name: str, found: Iterable[Pruned], dry_run: bool, reclaimed: int) -> dict[str, Any]:
    """Return what was forgotten, or would be, for programs."""
    return {
        "database": name,
        "dry_run": dry_run,
        "reclaimed_bytes": reclaimed,
        "workspaces": [
            {
                "forgotten": dict(one.gone),
                "held_by": one.held_by,
                "history_after": one.history_after,
                "kept": dict(one.kept),
                "name": one.name,
            }
            for one in found
        ],
    }


def print_pruned(name: str, found: Iterable[Pruned], dry_run: bool, reclaimed: int) -> None:
    """Say for people what was forgotten, or would be."""
    verb = "would forget" if dry_run else "forgot"
    for one in found:
        gone = one.gone
        parts = [_output.count(gone[kind], noun) for kind, noun in _GONE.items() if gone[kind]]
        if gone["log_batches"]:
            parts.append(f"{_output.size(gone['log_bytes'])} of logs")
        _output.echo(f"{one.name}: {verb} {', '.join(parts) or 'nothing'}.")
        kept = ", ".join(f"{count:,} {_KEPT[reason]}" for reason, count in sorted(one.kept.items()))
        if kept:
            _output.echo(f"  Runs that stay: {kept}.")
        if one.held_by:
            _output.echo(
                f"  The history stays from event {one.history_after + 1} on, with which run "
                f"{one.held_by} begins."
            )
    if reclaimed:
        _output.echo(f"{name} is {_output.size(reclaimed)} smaller.")
