"""Clean, typed tables, one partition per day."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import polars as pl

from servo import AssetContext, AssetIn, DailyPartition, asset, not_null, row_count, unique


@asset(
    partitions=DailyPartition("date", start="2013-01-01", end="2013-12-31"),
    owners=["data@example.com"],
    checks=[
        row_count(min_rows=1),
        not_null("carrier", "flight", "origin", "dest", "scheduled_at"),
        # What identifies a flight within a day. The scheduled time does not belong to the key:
        # no airline uses a flight number twice a day from the same airport.
        unique("carrier", "flight", "origin"),
    ],
)
def flights(
    ctx: AssetContext,
    flights_file: Annotated[pl.LazyFrame, AssetIn["raw.flights_file"]],
) -> pl.DataFrame:
    """Flights of one day with typed columns; delays and air time are minutes."""
    day = ctx.partition_key.dimensions["date"]
    assert isinstance(day, date)
    local = pl.datetime(
        "year", "month", "day", "hour", "minute", time_zone="America/New_York", ambiguous="earliest"
    )
    return (
        flights_file.filter(
            pl.col("year") == day.year, pl.col("month") == day.month, pl.col("day") == day.day
        )
        .select(
            date=pl.lit(day),
            scheduled_at=local.dt.convert_time_zone("UTC"),
            carrier="carrier",
            flight=pl.col("flight").cast(pl.Int32),
            tailnum="tailnum",
            origin="origin",
            dest="dest",
            cancelled=pl.col("dep_time").is_null(),
            dep_delay=pl.col("dep_delay").cast(pl.Int32),
            arr_delay=pl.col("arr_delay").cast(pl.Int32),
            air_time=pl.col("air_time").cast(pl.Int32),
            distance_miles=pl.col("distance").cast(pl.Int32),
        )
        .sort("scheduled_at", "carrier", "flight", "origin")
        .collect()
    )
