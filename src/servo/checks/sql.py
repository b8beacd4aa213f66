"""Custom SQL checks, by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from servo import _extras

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["violations"]


def violations(query: str, table: pa.Table) -> tuple[bool, str, int | None]:
    """Count the rows that a query returns.

    The query sees the data as the table ``data`` and nothing else: neither files nor the network.

    Args:
        query: One SELECT that returns the violating rows.
        table: The data.

    Returns:
        Whether there are none, a message, and how many there are (``None`` when the query could
        not be run, which is a failure).

    Raises:
        ConfigurationError: DuckDB is not installed.
    """
    with _extras.needing("duckdb", "a custom_sql check"):
        import duckdb
    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        try:
            connection.register("data", table)
        except duckdb.Error as exc:
            return False, _unknown_types(connection, table, exc), None
        try:
            statements = connection.extract_statements(query)
            if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
                return False, "the query must be one SELECT statement", None
            # As a value, not as text in a larger query: it may end with anything.
            counted = connection.execute("SELECT count(*) FROM query(?)", [query]).fetchone()
            failed = int(counted[0]) if counted else 0
            if not failed:
                return True, "no violating rows", 0
            sample = connection.execute("SELECT * FROM query(?) LIMIT 1", [query])
            names = [column[0] for column in sample.description or ()]
            values = sample.fetchone() or ()
        except duckdb.Error as exc:
            return False, f"the query cannot be run: {_one_line(exc)}", None
    row = ", ".join(f"{name}={value!r:.80}" for name, value in zip(names, values, strict=False))
    rows = "1 violating row" if failed == 1 else f"{failed} violating rows"
    return False, f"{rows}, for example {row}", failed


def _one_line(error: Exception) -> str:
    """Return what DuckDB says, without the line it marks: that is of the query around this one."""
    lines = [line.strip() for line in str(error).splitlines()]
    return "; ".join(line for line in lines if line.strip("^") and not line.startswith("LINE "))


def _unknown_types(connection: Any, table: pa.Table, error: Exception) -> str:
    """Say which columns DuckDB cannot read; it names their types in a notation of its own."""
    columns = []
    for field in table.schema:
        try:
            connection.register("one", table.select([field.name]).slice(0, 0))
        except type(error):
            columns.append(f"{field.name!r} of type {field.type}")
    if not columns:
        return f"the query cannot be run: {_one_line(error)}"
    noun = "column" if len(columns) == 1 else "columns"
    found = ", ".join(columns)
    return f"the query cannot be run: DuckDB cannot read the {noun} {found}; return another type"
