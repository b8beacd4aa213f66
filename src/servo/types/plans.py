"""What a run executes; mirrors ``Plan`` in ``proto/arco/v1/run.proto``."""

from __future__ import annotations

from msgspec import Struct

from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey


class PlannedTask(Struct, frozen=True, kw_only=True, gc=False):
    """One task: ``asset`` indexes `Plan.assets`, ``upstream`` tasks and ``gates`` gates."""

    asset: int
    partition_key: PartitionKey
    upstream: tuple[int, ...] = ()
    gates: tuple[int, ...] = ()


class PlanGate(Struct, frozen=True, kw_only=True, gc=False):
    """A set of tasks that several tasks wait for, stored once."""

    tasks: tuple[int, ...]


class Plan(Struct, frozen=True, kw_only=True, gc=False):
    """Tasks in topological order; the same inputs give the same plan."""

    assets: tuple[AssetKey, ...] = ()
    tasks: tuple[PlannedTask, ...] = ()
    gates: tuple[PlanGate, ...] = ()
