"""What ``servo run --dry-run`` does: plan like the control plane, and start nothing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from servo import errors
from servo.cli import _output
from servo.cli._session import Session
from servo.types.keys import AssetKey
from servo.types.labels import key_text
from servo.types.partition_keys import PartitionKey

if TYPE_CHECKING:
    from servo.client import Client
    from servo.controlplane.catalog import Catalog
    from servo.types.assets import AssetDefinition
    from servo.types.plans import Plan
    from servo.types.requests import CreateRunRequest


class Planning:
    """The project as a run would see it; nothing is deployed, and no lockfile written.

    Args:
        session: The invocation.
        client: The control plane; `None` where the project has none yet.
        definitions: Every asset.
    """

    def __init__(
        self, session: Session, client: Client | None, definitions: Sequence[AssetDefinition]
    ) -> None:
        from servo.controlplane.catalog import Catalog

        self._tenant_id = session.settings.tenant_id
        self._client = client
        self._catalog = Catalog("", definitions, {})
        self._materialized: dict[AssetKey, frozenset[PartitionKey]] = {}

    @property
    def catalog(self) -> Catalog:
        """The assets."""
        return self._catalog

    def plan(self, request: CreateRunRequest) -> Plan:
        """Return what a run would execute.

        Raises:
            servo.errors.InvalidArgumentError: A run would be refused; for the same reason.
            servo.errors.NotFoundError: A selection names nothing.
        """
        from servo.controlplane import planner
        from servo.controlplane.mapping import Scope

        scope = Scope(datetime.now(UTC), self._tenant_id)
        return planner.plan(request, self._catalog, self.materialized, scope)

    def materialized(self, key: AssetKey) -> Collection[PartitionKey]:
        """Return the partitions of an asset that exist."""
        found = self._materialized.get(key)
        if found is None:
            found = self._materialized[key] = frozenset(self._read(key))
        return found

    def _read(self, key: AssetKey) -> Iterator[PartitionKey]:
        if self._client is None:
            return
        try:
            for made in self._client.assets.materializations(key, latest_only=True):
                yield made.partition_key
        except errors.NotFoundError:
            return  # it is not deployed yet


@contextmanager
def planning(session: Session) -> Iterator[Planning]:
    """Open what is planned with: the deployed assets of a server, else the project as it stands."""
    if session.is_remote:
        with session.connect() as connection:
            client = connection.client
            definitions = [item.definition for item in client.assets.list()]
            yield Planning(session, client, definitions)
        return
    from servo.manifest import build_project

    manifest = build_project(session.project, frozen=False, write_lockfile=False)
    if not session.has_store:
        yield Planning(session, None, manifest.assets)
        return
    with session.connect() as connection:
        yield Planning(session, connection.client, manifest.assets)


@dataclass(frozen=True, slots=True)
class _Planned:
    key: AssetKey
    partitions: Sequence[PartitionKey]
    there: int

    @property
    def span(self) -> str:
        """The partitions, in so many words that a line has room for."""
        named = [key_text(key) for key in (self.partitions[0], self.partitions[-1])]
        return named[0] if len(self.partitions) == 1 else " to ".join(named)


def show(planned: Planning, request: CreateRunRequest, *, as_json: bool) -> None:
    """Print what a run would execute, and what of it exists already.

    Args:
        planned: What is planned with.
        request: What would be asked for.
        as_json: Whether to print one document instead of a table.

    Raises:
        servo.errors.ServoError: A run would be refused; for the same reason.
    """
    plan = planned.plan(request)
    partitions: dict[AssetKey, list[PartitionKey]] = {}
    for task in plan.tasks:
        partitions.setdefault(plan.assets[task.asset], []).append(task.partition_key)
    found = []
    for key, keys in partitions.items():
        exists = planned.materialized(key)
        found.append(_Planned(key, keys, sum(one in exists for one in keys)))
    if as_json:
        _print_json(found)
    else:
        _print(found)


def _print(found: Sequence[_Planned]) -> None:
    tasks, there = sum(len(one.partitions) for one in found), sum(one.there for one in found)
    if found:
        _output.table(
            ("asset", ">tasks", ">materialized", ">new", "~partitions"),
            (
                (
                    str(one.key),
                    f"{len(one.partitions):,}",
                    f"{one.there:,}",
                    f"{len(one.partitions) - one.there:,}",
                    one.span,
                )
                for one in found
            ),
        )
    _output.echo(
        f"A run would have {_output.count(tasks, 'task')} of {_output.count(len(found), 'asset')}"
        + (f"; {there:,} of them would replace what is materialized" if there else "")
        + ". Nothing was started."
    )


def _print_json(found: Sequence[_Planned]) -> None:
    document = {
        "assets": [
            {
                "asset": str(one.key),
                "materialized": one.there,
                "partitions": [key.to_proto_dict() for key in one.partitions],
                "tasks": len(one.partitions),
            }
            for one in found
        ],
        "materialized": sum(one.there for one in found),
        "tasks": sum(len(one.partitions) for one in found),
    }
    click.echo(json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")))
