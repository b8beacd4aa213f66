"""Checks of phase ``pre``: on everything that a function reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from servo.checks.running import needs, run
from servo.types.checks import Check, CheckResult, CustomSqlCheck

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["run_on_inputs"]


def run_on_inputs(check: Check, inputs: Mapping[str, pa.Table]) -> list[CheckResult]:
    """Run one check on each input that it can be meant for.

    A check that names columns is meant for the inputs that have them, a query for the inputs on
    which it can be run; where that is none, every input is a failure that says what is missing.
    Any other check is meant for every input.

    Args:
        check: The definition.
        inputs: The data by function parameter.
    """
    columns = needs(check)
    meant = {
        name: table
        for name, table in inputs.items()
        if all(column in table.column_names for column in columns)
    }
    results = [run(check, table, name) for name, table in (meant or inputs).items()]
    if isinstance(check, CustomSqlCheck):
        results = [found for found in results if found.failed_rows is not None] or results
    return results
