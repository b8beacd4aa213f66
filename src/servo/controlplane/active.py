"""What the control plane keeps in memory of runs that have not ended."""

from __future__ import annotations

from dataclasses import dataclass, replace

from servo.controlplane.catalog import Catalog
from servo.controlplane.machine import RunMachine
from servo.controlplane.mapping import Edge, Scope
from servo.types.keys import AssetKey
from servo.types.records import Run
from servo.types.requests import CreateRunRequest


@dataclass(slots=True)
class HeldLease:
    """A lease that is out.

    Attributes:
        token: Its fencing token: the sequence number of the event that gave it out.
        worker_id: Who has it.
        expires: When it ends without a heartbeat, on the monotonic clock, seconds.
    """

    token: int
    worker_id: str
    expires: float


class ActiveRun:
    """A run that has not ended, with what is needed to go on with it."""

    def __init__(
        self, machine: RunMachine, request: CreateRunRequest, catalog: Catalog, scope: Scope
    ) -> None:
        self.machine = machine
        self.request = request
        self.catalog = catalog
        self.scope = scope
        self.tokens = [0] * len(machine.tasks)
        self.last_sequence = machine.run.last_sequence
        self._edges: dict[AssetKey, list[Edge]] = {}

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.machine.run.run_id

    def snapshot(self) -> Run:
        """Return the run as it is now, with its counts and without its tasks."""
        return replace(self.machine.snapshot(), last_sequence=self.last_sequence)

    def edges(self, key: AssetKey) -> list[Edge]:
        """Return what an asset reads."""
        found = self._edges.get(key)
        if found is None:
            asset = self.catalog.assets[key]
            found = self._edges[key] = [
                Edge(dependency, self.catalog.assets[dependency.upstream_key], asset, self.scope)
                for dependency in asset.dependencies
            ]
        return found

    def upstream_ids(self) -> set[str]:
        """Return the ids of every asset that the plan's assets read."""
        return {
            self.catalog.asset_id(dependency.upstream_key)
            for key in self.machine.plan.assets
            for dependency in self.catalog.assets[key].dependencies
        }
