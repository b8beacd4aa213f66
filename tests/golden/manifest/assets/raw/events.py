"""Every kind of partition, and none."""

from servo import (
    AssetContext,
    AssetOut,
    DailyPartition,
    HourlyPartition,
    IoConfig,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    asset,
    custom_sql,
    freshness,
    not_null,
    row_count,
    unique,
)


@asset(
    namespace="raw",
    owners=["data@example.com", "ops@example.com"],
    tags={"cost_center": "a", "Größe": "groß"},
    partitions=PartitionStrategy(
        [
            DailyPartition("date", start="2013-01-01", end="2013-12-31"),
            StaticDimension("region", ["us", "eu"]),
            TenantDimension("tenant"),
        ]
    ),
    checks=[
        row_count(min_rows=1, max_rows=1_000_000),
        not_null("id", "created_at", min_ratio="0.995"),
        unique("id", severity="critical"),
        freshness("created_at", hours=36, severity="warning"),
        custom_sql("select * from data where id < 0", name="positive_ids"),
    ],
    io=IoConfig(compression="snappy", partition_by=["kind"], row_group_rows=50_000),
    max_retries=0,
    timeout_seconds=60,
    memory_mib=4096,
    code_version="7",
    metadata={"wiki": "https://example.com/events"},
)
def events(ctx: AssetContext) -> AssetOut:
    """Events as they arrive.

    Only the first line is the description.
    """
    rows = [{"id": 1, "created_at": ctx.partition_key}]
    return ctx.output(rows)


@asset(namespace="raw", partitions=HourlyPartition("hour", timezone="Europe/Berlin"))
async def beats(ctx: AssetContext) -> None:
    """One an hour."""


@asset
def plain(ctx):
    return None
