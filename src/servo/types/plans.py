"""What a run executes; mirrors ``Plan`` in ``proto/arco/v1/run.proto``."""

from __future__ import annotations

from dataclasses import dataclass

from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedTask:
    """One task: ``asset`` indexes `Plan.assets`, ``upstream`` tasks and ``gates`` gates."""

    asset: int
    partition_key: PartitionKey
    upstream: tuple[int, ...] = ()
    gates: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanGate:
    """A set of tasks that several tasks wait for, stored once."""

    tasks: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Tasks in topological order; the same inputs give the same plan."""

    assets: tuple[AssetKey, ...] = ()
    tasks: tuple[PlannedTask, ...] = ()
    gates: tuple[PlanGate, ...] = ()
