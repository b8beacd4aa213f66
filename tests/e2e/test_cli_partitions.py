"""Choosing partitions, planning without running, and reading parts of a log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from servo_project import ServoProject, wait_until

SALES = """
import pathlib, time
from servo import AssetIn, DailyPartition, HourlyPartition, StaticDimension, asset, row_count

DIMENSIONS = [
    DailyPartition("date", start="2025-03-01", end="2025-03-31"),
    StaticDimension("region", values=["north", "south", "a,b"]),
]


@asset(namespace="mart", partitions=DIMENSIONS, max_retries=0)
def sales(ctx):
    return [{"order": " ".join(ctx.partition_key.dimensions)}]


@asset(namespace="mart", partitions=DIMENSIONS, max_retries=0)
def report(ctx, sales: AssetIn["mart.sales"]):
    return [{"a": 1}]


HOURS = HourlyPartition("hour", "2025-01-01T00", timezone="Europe/Berlin")


@asset(namespace="mart", partitions=HOURS)
def hours(ctx):
    return [{"a": 1}]


@asset(namespace="mart", max_retries=0, checks=[row_count(min_rows=5, severity="warning")])
def few(ctx):
    return [{"a": 1}]


@asset(namespace="mart", max_retries=1, retry_delay_seconds=0)
def chatty(ctx):
    for number in range(10):
        print(f"attempt {ctx.attempt} line {number}")
    if ctx.attempt == 1:
        raise ValueError("not yet")


@asset(namespace="mart", max_retries=0)
def endless(ctx):
    pathlib.Path("started").touch()
    while True:
        time.sleep(0.02)
        ctx.report_progress("waiting")
"""
MARCH = "2025-03-01..2025-03-05"


@pytest.fixture(scope="module")
def mart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServoProject]:
    root = tmp_path_factory.mktemp("mart")
    (root / "pyproject.toml").write_text("[tool.servo]\n")
    project = ServoProject(root)
    project.write("assets/mart.py", SALES)
    project.start("dev")
    wait_until(lambda: project.server is not None, "servo dev serves")
    yield project
    project.close()


def labels(project: ServoProject, *words: str) -> list[str]:
    done = project.ok("run", "mart.sales", *words)
    return sorted(line.split("  ")[0][2:] for line in done.out.splitlines() if line[:1] == "✓")


def test_one_dimension_is_fixed_and_the_other_a_range(mart: ServoProject) -> None:
    found = labels(mart, "--partition", "region=north", "--partitions", MARCH)
    assert found == [f"mart.sales[date=2025-03-0{day},region=north]" for day in range(1, 6)]


def test_lists_and_ranges_of_several_dimensions_make_every_combination(mart: ServoProject) -> None:
    pairs = ('region=south,"a,b"', "date=2025-03-01..2025-03-02,2025-03-10")
    found = labels(mart, "--partition", pairs[0], "--partition", pairs[1])
    days = ("01", "02", "10")
    assert found == [
        f"mart.sales[date=2025-03-{day},region={region}]"
        for day in days
        for region in ('"a,b"', "south")
    ]


def test_functions_see_the_dimensions_in_declared_order(mart: ServoProject) -> None:
    labels(mart, "--partition", "region=north", "--partition", "date=2025-03-20")
    assert mart.data("mart/sales/date=2025-03-20/region=north") == [{"order": "date region"}]


def test_a_dry_run_shows_the_plan_and_starts_nothing(mart: ServoProject) -> None:
    labels(mart, "--partition", "region=north", "--partition", "date=2025-03-25")
    runs = mart.ok("status", "--json").out
    words = ("run", "mart.sales", "--partition", "region=north", "--dry-run")
    done = mart.ok(*words, "--partitions", "2025-03-25..2025-03-28")
    cells = done.out.splitlines()[1].split()
    assert cells[:4] == ["mart.sales", "4", "1", "3"]
    assert "4 tasks of 1 asset; 1 of them would replace what is materialized" in done.out
    document = mart.ok(*words, "--partitions", "2025-03-25..2025-03-28", "--json").json
    assert (document["tasks"], document["materialized"]) == (4, 1)
    assert document["assets"][0]["partitions"][0] == {"date": "d:2025-03-25", "region": "s:north"}
    assert mart.ok("status", "--json").out == runs


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("mart.report", "--partition", "region=south", "--partition", "date=2025-03-30"),
            "--upstream",
        ),
        (("mart.sales",), "--all-partitions"),
        (("mart.sale",), "did you mean mart.sales"),
        (("mart.hours", "--partition", "hour=2025-10-26T02"), "comes twice in Europe/Berlin"),
    ],
)
def test_a_dry_run_is_refused_as_the_run_would_be(
    mart: ServoProject, words: tuple[str, ...], said: str
) -> None:
    dry, real = mart.run("run", *words, "--dry-run"), mart.run("run", *words)
    assert (dry.code, real.code) == (2, 2)
    assert said in dry.err
    assert said in real.err


def test_a_dry_run_of_a_new_project_leaves_nothing_behind(project: ServoProject) -> None:
    project.write("assets/mart.py", SALES)
    done = project.ok("run", "mart.few", "--dry-run")
    assert "A run would have 1 task of 1 asset. Nothing was started." in done.out
    assert not (project.root / ".servo").exists()


def test_what_a_warning_found_is_in_status_in_the_asset_and_in_events(mart: ServoProject) -> None:
    done = mart.ok("run", "mart.few")
    assert done.out.count("at least 5 expected") == 1
    assert "warning, row_count: 1 row" in mart.ok("status", "latest").out
    assert (
        "row_count (post, warning): did not pass, 1 row" in mart.ok("asset", "show", "mart.few").out
    )
    assert "succeeded: warning, row_count: 1 row" in mart.ok("events", "--run", "latest").out


def test_why_of_what_succeeded_says_when_and_no_more(mart: ServoProject) -> None:
    mart.ok("run", "mart.few")
    for subject in ("latest", "mart.few"):
        shown = mart.ok("why", subject).out
        assert "succeeded" in shown
        assert " at 20" in shown
        assert "To do" not in shown


def lines(project: ServoProject, *words: str) -> list[str]:
    shown = project.ok("logs", "latest", "--json", *words).out.splitlines()
    return [found["text"] for found in map(json.loads, shown) if found["stream"] == "stdout"]


def test_parts_of_a_log_are_read(mart: ServoProject) -> None:
    mart.ok("run", "mart.chatty")
    first, second = ([f"attempt {n} line {m}" for m in range(10)] for n in (1, 2))
    assert lines(mart) == first + second
    assert lines(mart, "--attempt", "2") == second
    assert lines(mart, "--attempt", "1", "--task", "mart.chatty") == first
    assert lines(mart, "--attempt", "2", "--tail", "3") == second[-3:]
    assert lines(mart, "--tail", "0") == []
    assert lines(mart, "--tail", "2", "--attempt", "2", "--follow") == second[-2:]
    assert lines(mart, "--since", "1h") == first + second
    assert lines(mart, "--since", "2099-01-01") == []
    assert mart.run("logs", "latest", "--since", "soon").code == 2
    assert mart.run("logs", "latest", "--attempt", "0").code == 2


def test_what_was_cancelled_is_not_counted_as_skipped(mart: ServoProject) -> None:
    process = mart.start("run", "mart.endless")
    wait_until((mart.root / "started").exists, "the task runs")
    time.sleep(0.2)
    mart.ok("cancel", "latest")
    done = mart.finish(process)
    table = done.out[done.out.index("\nasset") :].splitlines()
    heading, row = table[1].split(), table[2].split()
    assert heading[:5] == ["asset", "ok", "failed", "skipped", "cancelled"]
    assert row[-1] == "1"
    assert "cancelled" in mart.ok("status").out.splitlines()[0]
