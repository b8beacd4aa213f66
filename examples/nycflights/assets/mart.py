"""Answers: which airlines are late, how the delays move, what the weather does to a route."""

from __future__ import annotations

from datetime import date
from typing import Annotated

import polars as pl

from servo import (
    AssetContext,
    AssetIn,
    CheckSeverity,
    DailyPartition,
    MonthlyPartition,
    all_partitions,
    asset,
    custom_sql,
    not_null,
    row_count,
    unique,
    window,
)


@asset(
    owners=["analytics@example.com"],
    checks=[
        row_count(min_rows=10, max_rows=50),
        unique("carrier"),
        not_null("carrier", "airline"),
        custom_sql("SELECT * FROM data WHERE cancelled > flights", name="cancelled_within_flights"),
    ],
)
def carrier_delays(
    ctx: AssetContext,
    flights: Annotated[pl.LazyFrame, AssetIn["staging.flights"], all_partitions()],
    airlines: Annotated[pl.LazyFrame, AssetIn["raw.airlines"]],
    planes: Annotated[pl.LazyFrame, AssetIn["raw.planes"]],
) -> pl.DataFrame:
    """Delays of each airline over the whole year, most delayed first."""
    late = pl.col("arr_delay") >= 15
    return (
        flights.join(airlines, on="carrier", how="left")
        .join(planes.select("tailnum", "seats"), on="tailnum", how="left")
        .group_by("carrier", airline="name")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("cancelled").sum(),
            mean_dep_delay=pl.col("dep_delay").mean().round(2),
            mean_arr_delay=pl.col("arr_delay").mean().round(2),
            late_share=late.mean().round(4),
            mean_seats=pl.col("seats").mean().round(1),
        )
        .sort("mean_arr_delay", "carrier", descending=[True, False])
        .collect()
    )


@asset(
    partitions=DailyPartition("date", start="2013-01-01", end="2013-12-31"),
    owners=["analytics@example.com"],
    checks=[row_count(min_rows=1, max_rows=3), unique("date", "origin"), not_null("mean_7d")],
)
def daily_delays(
    ctx: AssetContext,
    flights: Annotated[pl.LazyFrame, AssetIn["staging.flights"], window(days=7)],
) -> pl.DataFrame:
    """Departure delay of each airport on one day, beside the mean of the last seven days."""
    day = ctx.partition_key.dimensions["date"]
    assert isinstance(day, date)
    today = pl.col("date") == day
    return (
        flights.group_by("origin")
        .agg(
            date=pl.lit(day),
            flights=today.sum(),
            mean_delay=pl.col("dep_delay").filter(today).mean().round(2),
            mean_7d=pl.col("dep_delay").mean().round(2),
        )
        .select("date", "origin", "flights", "mean_delay", "mean_7d")
        .sort("origin")
        .collect()
    )


@asset(
    # A month reads the days that it covers: the mapping between granularities is automatic.
    partitions=MonthlyPartition("date", start="2013-01-01", end="2013-12-01"),
    owners=["analytics@example.com"],
    checks=[
        row_count(min_rows=1),
        unique("origin", "dest"),
        not_null("destination", min_ratio=0.9, severity=CheckSeverity.WARNING),
    ],
)
def route_weather(
    ctx: AssetContext,
    flights: Annotated[pl.LazyFrame, AssetIn["staging.flights"]],
    weather: Annotated[pl.LazyFrame, AssetIn["raw.weather"]],
    airports: Annotated[pl.LazyFrame, AssetIn["raw.airports"]],
) -> pl.DataFrame:
    """Departure delay of each route in one month, in dry hours and in wet ones."""
    hourly = weather.select(
        "origin",
        hour=pl.col("time_hour").str.to_datetime(time_zone="UTC"),
        wet=pl.col("precip") > 0,
        visibility_miles="visib",
    )
    delay = pl.col("dep_delay")
    return (
        flights.with_columns(hour=pl.col("scheduled_at").dt.truncate("1h"))
        .join(hourly, on=["origin", "hour"], how="left")
        .join(airports.select(dest="faa", destination="name"), on="dest", how="left")
        .group_by("origin", "dest", "destination")
        .agg(
            flights=pl.len(),
            wet_share=pl.col("wet").mean().round(4),
            mean_visibility_miles=pl.col("visibility_miles").mean().round(2),
            mean_delay_dry=delay.filter(~pl.col("wet")).mean().round(2),
            mean_delay_wet=delay.filter(pl.col("wet")).mean().round(2),
        )
        .sort("origin", "dest")
        .collect()
    )
