"""Custom SQL checks, by DuckDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
        connection.register("data", table)
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
            return False, f"the query cannot be run: {exc}", None
    row = ", ".join(f"{name}={value!r:.80}" for name, value in zip(names, values, strict=False))
    return False, f"{failed} violating rows, for example {row}", failed
