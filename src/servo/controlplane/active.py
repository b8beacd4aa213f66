"""What the control plane keeps in memory of runs that have not ended."""

from __future__ import annotations

import dataclasses
from typing import Final

from msgspec.structs import replace

from servo.controlplane.catalog import Catalog
from servo.controlplane.machine import RunMachine
from servo.controlplane.mapping import Edge, Scope
from servo.controlplane.materialized import Hold
from servo.controlplane.waiting import Waiting
from servo.types.assets import ExecutionPolicy
from servo.types.keys import AssetKey
from servo.types.records import Run, Task
from servo.types.requests import CreateRunRequest

_MOST_EDGES: Final = 10_000
"""Assets of a run whose edges are kept: the partitions of one share what is worked out for them."""


class ActiveRun:
    """A run that has not ended, with what is needed to go on with it.

    Args:
        machine: Its tasks and what follows from what happens to them.
        request: What was asked for.
        catalog: The assets of its deployment.
        scope: What is declared.
        known: What it reads is known as long as this is held.

    Attributes:
        tokens: The fencing token of the last lease of each task; 0 before the first.
        last_sequence: The sequence number of its last event.
        waiting: The ready tasks, by position, as the scheduler sees them.
    """

    def __init__(
        self,
        machine: RunMachine,
        request: CreateRunRequest,
        catalog: Catalog,
        scope: Scope,
        known: Hold,
    ) -> None:
        self.machine = machine
        self.request = request
        self.catalog = catalog
        self.scope = scope
        self.known = known
        self.tokens = [0] * len(machine.tasks)
        self.last_sequence = machine.run.last_sequence
        self.waiting: dict[int, Waiting] = {}
        self._edges: dict[AssetKey, list[Edge]] = {}
        self._policies: dict[AssetKey, ExecutionPolicy] = {}

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.machine.run.run_id

    def policy(self, task: Task) -> ExecutionPolicy:
        """Return how attempts of a task are made, by its asset or else by the run."""
        key, max_retries = task.asset_key, self.machine.run.max_retries
        if max_retries is None:
            return self.catalog.assets[key].execution
        found = self._policies.get(key)
        if found is None:
            found = dataclasses.replace(self.catalog.assets[key].execution, max_retries=max_retries)
            self._policies[key] = found
        return found

    def snapshot(self) -> Run:
        """Return the run as it is now, with its counts and without its tasks."""
        return replace(self.machine.snapshot(), last_sequence=self.last_sequence)

    def edges(self, key: AssetKey) -> list[Edge]:
        """Return what an asset reads."""
        found = self._edges.get(key)
        if found is None:
            if len(self._edges) >= _MOST_EDGES:
                self._edges.clear()
            asset = self.catalog.assets[key]
            found = self._edges[key] = [
                Edge(dependency, self.catalog.assets[dependency.upstream_key], asset, self.scope)
                for dependency in asset.dependencies
            ]
        return found
