"""What people ask for."""

from typing import Annotated, Any

from servo import AssetContext, AssetIn, DailyPartition, asset, not_null, row_count


@asset(
    partitions=DailyPartition("date", start="2025-01-01", end="2025-01-03"),
    checks=[row_count(min_rows=1, max_rows=1), not_null("revenue")],
)
def daily_revenue(
    ctx: AssetContext,
    orders: Annotated[list[dict[str, Any]], AssetIn["raw.orders"]],
) -> list[dict[str, Any]]:
    """Number of orders and revenue of one day."""
    day = str(ctx.partition_key.dimensions["date"])
    amounts = [order["amount"] for order in orders if order["date"] == day]
    ctx.log.info("%d orders on %s", len(amounts), day)
    return [{"date": day, "orders": len(amounts), "revenue": sum(amounts)}]
