"""No query looks at more rows than it returns, so that a million of them change nothing."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import psycopg
import pytest

import postgres_kit
from servo.controlplane.store.postgres import PostgresStore
from servo.controlplane.store.sqlite import SqliteStore

SMALL = {"workspaces", "api_keys", "store_info", "pools"}
"""Tables that a handful of rows is in."""


def queries() -> dict[str, str]:
    """Return every query that reads, by its name."""
    folder = resources.files("servo.controlplane.store")
    text = folder.joinpath("queries.sql").read_text(encoding="utf-8")
    found = re.findall(r"-- name: (\w+)\S*\n(.*?);", text, re.DOTALL)
    return {name: sql for name, sql in found if sql.lstrip().startswith("SELECT")}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    path = tmp_path_factory.mktemp("plans") / "servo.db"
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", sorted(queries()))
def test_sqlite_finds_rows_in_an_index_that_has_them_in_order(
    database: sqlite3.Connection, name: str
) -> None:
    sql = queries()[name]
    values = dict.fromkeys(re.findall(r":(\w+)", sql), 1)
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
    for step in plan:
        scanned = re.match(r"SCAN (\w+)", step)
        assert scanned is None or scanned[1] in SMALL, plan
        assert "TEMP B-TREE" not in step or SMALL & set(re.findall(r"\w+", sql)), plan
    for column in ("partition_key", "state"):
        if f"{column} = :{column}" in sql:
            assert any(f"{column}=?" in step for step in plan), plan


def test_both_databases_have_the_same_tables_and_columns(tmp_path: Path) -> None:
    """But for what settles who schedules, which a file does not need."""
    SqliteStore(tmp_path / "servo.db").close()
    with sqlite3.connect(tmp_path / "servo.db") as file:
        tables = "name NOT LIKE 'sqlite%' AND name NOT LIKE '%yoyo%' AND type = 'table'"
        names = [row[0] for row in file.execute(f"SELECT name FROM sqlite_master WHERE {tables}")]
        in_file = {
            name: {row[1] for row in file.execute(f"PRAGMA table_info({name})")} for name in names
        }
    with postgres_kit.database() as url, psycopg.connect(url) as server:
        found = server.execute(
            "SELECT table_name, column_name FROM information_schema.columns"
            " WHERE table_schema = 'public' AND table_name NOT LIKE '%%yoyo%%'",
            [],
        )
        on_server: dict[str, set[str]] = {}
        for table, column in found:
            on_server.setdefault(table, set()).add(column)
    assert on_server.pop("leader") == {"only_row", "epoch", "address"}
    assert on_server == in_file


def test_every_query_is_one_that_postgresql_understands() -> None:
    """Those that read are run by the contract's tests; here all of them are prepared."""
    names = [name for name in dir(PostgresStore.queries()) if not name.startswith("_")]
    with postgres_kit.database() as url, psycopg.connect(url) as server:
        for name in names:
            sql = getattr(getattr(PostgresStore.queries(), name), "sql", None)
            if sql is None:
                continue
            numbered = {key: f"${n}" for n, key in enumerate(_parameters(sql), 1)}
            server.execute(f"PREPARE {name} AS {sql % numbered}".rstrip("; \n").encode())


def _parameters(sql: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"%\((\w+)\)s", sql)))
