"""What is deployed for random interleavings: a few assets with every kind of limit."""

from __future__ import annotations

from typing import Any

from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetKey,
    CodeLocation,
    ExecutionPolicy,
    PartitionStrategy,
    StaticDimension,
)
from servo.types.assets import RetryPolicy
from servo.types.dependencies import DependencyMapping

POOL = "warehouse"
AT_ONCE = RetryPolicy(max_delay_seconds=0)


def asset(
    name: str, *upstream: str, parts: bool = False, whole: bool = False, **policy: Any
) -> AssetDefinition:
    """Declare an asset that reads others, the same part of each or each as a whole."""
    mapping = DependencyMapping.ALL if whole else DependencyMapping.IDENTITY
    key = AssetKey.parse(name)
    return AssetDefinition(
        key,
        dependencies=tuple(
            AssetDependency(AssetKey.parse(one), parameter_name=f"p{number}", mapping=mapping)
            for number, one in enumerate(upstream)
        ),
        code=CodeLocation("assets", key.name),
        partitioning=PartitionStrategy([StaticDimension("part", ("a", "b", "c"))])
        if parts
        else PartitionStrategy(),
        execution=ExecutionPolicy(retry=AT_ONCE, **policy),
    )


ASSETS = (
    asset("raw.parts", parts=True, max_retries=2, pools=[POOL]),
    asset("raw.narrow", parts=True, max_retries=1, max_parallelism=1, priority=5),
    asset("raw.dear", max_retries=3, budget={"usd": "1.00"}),
    asset("mart.parts", "raw.parts", "raw.narrow", parts=True, max_retries=0, pools={POOL: 2}),
    asset("mart.whole", "raw.parts", whole=True, max_retries=1),
    asset("mart.end", "mart.whole", "raw.dear", max_retries=1),
)
POLICIES = {one.key: one.execution for one in ASSETS}
