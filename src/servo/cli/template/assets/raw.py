"""What comes from outside."""

from typing import Any

from servo import AssetContext, asset, not_null, row_count, unique


@asset(checks=[row_count(min_rows=1), unique("order_id"), not_null("order_id", "date", "amount")])
def orders(ctx: AssetContext) -> list[dict[str, Any]]:
    """Orders of a small shop; replace the list by a file, a query or a request."""
    return [
        {"order_id": 1, "date": "2025-01-01", "product": "tea", "amount": 12.5},
        {"order_id": 2, "date": "2025-01-01", "product": "coffee", "amount": 8.0},
        {"order_id": 3, "date": "2025-01-02", "product": "tea", "amount": 25.0},
        {"order_id": 4, "date": "2025-01-03", "product": "cocoa", "amount": 4.2},
    ]
