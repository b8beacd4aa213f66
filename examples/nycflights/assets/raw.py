"""The files as they came: nothing is renamed, filtered or converted here."""

from __future__ import annotations

import polars as pl

from assets._files import read_csv
from servo import AssetContext, IoConfig, asset, not_null, row_count, unique


@asset(
    owners=["data@example.com"],
    checks=[row_count(min_rows=300_000), not_null("year", "month", "day", "carrier", "flight")],
    # Small row groups: a reader that wants one day finds it without reading the year.
    io=IoConfig(row_group_rows=16_384),
)
def flights_file(ctx: AssetContext) -> pl.DataFrame:
    """Every flight that left New York City in 2013, as the file has it."""
    return read_csv("flights.csv.zip")


@asset(owners=["data@example.com"], checks=[unique("carrier"), not_null("carrier", "name")])
def airlines(ctx: AssetContext) -> pl.DataFrame:
    """Names of the airlines by carrier code."""
    return read_csv("airlines.csv")


@asset(owners=["data@example.com"], checks=[unique("faa"), not_null("faa", "name", "lat", "lon")])
def airports(ctx: AssetContext) -> pl.DataFrame:
    """Airports of the United States: name, position, altitude, time zone."""
    return read_csv("airports.csv")


@asset(owners=["data@example.com"], checks=[unique("tailnum"), not_null("tailnum", "seats")])
def planes(ctx: AssetContext) -> pl.DataFrame:
    """Aircraft by tail number, from the register of the FAA."""
    return read_csv("planes.csv")


@asset(
    owners=["data@example.com"],
    checks=[unique("origin", "time_hour"), not_null("origin", "time_hour", "precip", "visib")],
)
def weather(ctx: AssetContext) -> pl.DataFrame:
    """Hourly weather at the three airports of New York City; ``time_hour`` is UTC."""
    return read_csv("weather.csv")
