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
NOT_LONG = RetryPolicy(max_delay_seconds=0, retry_on=["user_code", "infrastructure"])
LATER = RetryPolicy(backoff="constant", jitter_percent=0)


def asset(
    name: str,
    *upstream: str,
    parts: bool = False,
    whole: bool = False,
    retry: RetryPolicy = AT_ONCE,
    **policy: Any,
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
        execution=ExecutionPolicy(retry=retry, **policy),
    )


ASSETS = (
    asset("raw.parts", parts=True, max_retries=2, pools=[POOL], timeout_seconds=60),
    asset(
        "raw.narrow",
        parts=True,
        max_retries=1,
        max_parallelism=1,
        priority=5,
        retry_delay_seconds=30,
        retry=LATER,
    ),
    asset("raw.dear", max_retries=3, budget={"usd": "1.00"}, timeout_seconds=20, retry=NOT_LONG),
    asset("mart.parts", "raw.parts", "raw.narrow", parts=True, max_retries=0, pools={POOL: 2}),
    asset("mart.whole", "raw.parts", whole=True, max_retries=1),
    asset("mart.end", "mart.whole", "raw.dear", max_retries=1),
)
NEXT_ASSETS = (
    asset("raw.parts", parts=True, max_retries=0, max_parallelism=1, timeout_seconds=300),
    asset("raw.narrow", parts=True, max_retries=3, max_parallelism=2, pools=[POOL]),
    asset("raw.dear", max_retries=1, budget={"usd": "0.50"}, timeout_seconds=60),
    asset("mart.parts", "raw.parts", parts=True, max_retries=1, priority=-1),
    asset("mart.whole", "mart.parts", "raw.dear", whole=True, max_retries=2),
)
"""The same project some days later: other limits, other graph, one asset less."""

DEPLOYMENTS = (ASSETS, NEXT_ASSETS)
VERSIONS = ("v1", "v2")
"""The versions of the code that runs are pinned to and workers announce."""
