from __future__ import annotations

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from servo_project import ServoProject

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_the_demo_makes_a_year_of_flights_again_and_again(
    project: ServoProject, tmp_path: Path
) -> None:
    target = tmp_path / "demo"
    done = project.ok("demo", str(target))
    assert "748 tasks of 9 assets" in done.out
    data = target / ".servo" / "data"

    flights = ds.dataset(data / "staging" / "flights", format="parquet").to_table()
    assert flights.num_rows == 336_776
    assert pc.sum(flights["cancelled"]).as_py() == 8_255

    carriers = pq.read_table(data / "mart" / "carrier_delays" / "data.parquet")
    assert carriers.num_rows == 16
    assert pc.sum(carriers["flights"]).as_py() == 336_776

    days = ds.dataset(data / "mart" / "daily_delays", format="parquet").to_table()
    assert days.num_rows == 3 * 365

    routes = ds.dataset(data / "mart" / "route_weather", format="parquet").to_table()
    assert pc.sum(routes["flights"]).as_py() == 336_776

    one_day = project.ok(
        "--project", str(target), "run", "mart.daily_delays", "--partition", "date=2013-07-04"
    )
    assert "1 task of 1 asset" in one_day.out
    again = project.ok("demo", str(target), "--help")
    assert "Run it again" in again.out


def test_a_directory_of_something_else_is_left_alone(project: ServoProject) -> None:
    done = project.run("demo", str(project.root))
    assert done.code == 2, done
    assert "is not the demo" in done.err
