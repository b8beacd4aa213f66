"""Every mapping."""

from __future__ import annotations

from typing import Annotated, Literal

from servo import (
    AssetContext,
    AssetIn,
    DailyPartition,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    all_partitions,
    asset,
    latest,
    not_null,
    window,
)

_PARTITIONS = PartitionStrategy(
    [
        DailyPartition("date", start="2013-01-07"),
        StaticDimension("region", ["us", "eu"]),
        TenantDimension("tenant"),
    ]
)


@asset(partitions=_PARTITIONS, renamed_from="mart.weekly")
def rolling(
    ctx: AssetContext,
    same: AssetIn[Literal["raw.events"]],
    week: Annotated[list, AssetIn[Literal["raw.events"]], window(days=7)],
    newest: Annotated[list, AssetIn[Literal["raw.beats"]], latest()],
    whole: AssetIn[Literal["events.plain"]],
    *,
    limit: int = 10,
) -> list[dict[str, object]]:
    """Reads in four ways."""
    return [row for row in week if row["id"] < limit]


@asset(checks=[not_null("id", name="ids_read", phase="pre")])
def total(
    ctx: AssetContext, events: Annotated[list, AssetIn[Literal["raw.events"]], all_partitions()]
) -> list[dict[str, object]]:
    """Reads everything."""
    return [{"rows": len(events)}]
