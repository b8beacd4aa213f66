"""Selecting and repeating on the command line."""

from __future__ import annotations

import pytest

from servo_project import ServoProject

SHOP = """
from typing import Annotated, Any
from servo import AssetIn, asset


@asset(namespace="raw", owners=["ada@example.com"])
def orders(ctx):
    return [{"price": 2}, {"price": 3}]


@asset(namespace="raw")
def returns(ctx):
    return [{"price": 1}]


@asset(namespace="mart", max_retries=0, tags={"tier": "gold"})
def sales(ctx, orders: Annotated[list[dict[str, Any]], AssetIn["raw.orders"]]):
    return [{"sum": sum(order["prise"] for order in orders), "mode": ctx.config.get("mode", "")}]


@asset(namespace="mart")
def report(ctx, sales: Annotated[list[dict[str, Any]], AssetIn["mart.sales"]]):
    return sales
"""
MENDED = SHOP.replace("prise", "price")


def made(document: dict[str, list[dict[str, dict[str, str]]]]) -> list[str]:
    keys = [task["assetKey"] for task in document["tasks"]]
    return [f"{key['namespace']}.{key['name']}" for key in keys]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (["+mart.report", "not raw.*"], ["mart.sales", "mart.report"]),
        (
            ["raw.orders+2", "raw.returns"],
            ["raw.orders", "mart.sales", "mart.report", "raw.returns"],
        ),
    ],
)
def test_assets_are_selected_by_expressions(
    project: ServoProject, selection: list[str], expected: list[str]
) -> None:
    project.write("assets/shop.py", MENDED)
    project.ok("run", "*", "--json")
    assert sorted(made(project.ok("run", *selection, "--json").json)) == sorted(expected)
    listed = project.ok("asset", "list", *selection, "--json").json["assets"]
    names = [item["definition"]["key"] for item in listed]
    assert [f"{key['namespace']}.{key['name']}" for key in names] == sorted(expected)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "+mart.reprt"), "did you mean mart.report"),
        (("run", "tag:tier=glod"), "did you mean tag:tier=gold"),
        (("run", "raw.orders raw.returns"), "separate items, or join them with 'or'"),
        (("run", "not", "raw.*"), "at character 4, found the end"),
        (("asset", "list", "raw.* and mart.*"), "no asset fits the selection"),
        (("rerun", "latest"), "there is no run yet"),
    ],
)
def test_what_selects_nothing_is_refused_with_what_might_be_meant(
    project: ServoProject, arguments: tuple[str, ...], says: str
) -> None:
    project.write("assets/shop.py", MENDED)
    done = project.run(*arguments)
    assert done.code == 2, done
    assert says in done.err


def test_a_run_is_mended_and_what_failed_is_repeated(project: ServoProject) -> None:
    project.write("assets/shop.py", SHOP)
    failed = project.run("run", "*", "--config", "mode=full", "--json")
    assert failed.code == 1, failed
    first = failed.json["runId"]

    again = project.run("rerun", first[:20], "--json")
    assert again.code == 1, again
    assert made(again.json) == ["mart.sales", "mart.report"]

    project.write("assets/shop.py", MENDED)
    old = project.run("rerun", "latest", "--same-deployment", "--no-wait", "--json")
    assert old.json["deploymentId"] == failed.json["deploymentId"]
    assert project.run("status", old.json["runId"], "--watch").code in (0, 1)

    only = project.ok("rerun", first, "mart.sales", "--json").json
    assert made(only) == ["mart.sales"]
    assert (only["parentRunId"], only["rootRunId"]) == (first, first)
    assert only["deploymentId"] != failed.json["deploymentId"]
    assert project.data("mart/sales") == [{"sum": 5, "mode": "full"}]

    rest = project.ok("rerun", first, "--config", "mode=quick")
    assert f", a rerun of {first}: 2 tasks of 2 assets" in rest.out
    assert project.data("mart/report") == [{"sum": 5, "mode": "quick"}]

    nothing = project.run("rerun", "latest", "--json")
    assert (nothing.code, nothing.json["code"]) == (2, "NOTHING_TO_RERUN")
    every = project.ok("rerun", "latest", "--all", "--run-key", "twice", "--json").json
    assert made(every) == ["mart.sales", "mart.report"]
    assert (
        project.ok("rerun", every["parentRunId"], "--all", "--run-key", "twice", "--json").json[
            "runId"
        ]
        == every["runId"]
    )
