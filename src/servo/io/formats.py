"""Turning what a function returned into an Arrow table.

Libraries are recognised by the class of the value and are never imported to find out: a value of
a class of polars can only exist when polars is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import pyarrow as pa

from servo import errors
from servo.types._frozen import check_unicode

__all__ = ["SUPPORTED", "to_schema", "to_table"]

SUPPORTED: Final = (
    "a pyarrow Table, RecordBatch, RecordBatchReader or Dataset, a polars DataFrame or LazyFrame, "
    "a pandas DataFrame, a list of dicts, a pathlib.Path to a .parquet, .csv, .json or .jsonl "
    "file, or None for a side effect"
)
"""What a function may return, for messages and documentation."""


def to_table(data: object, *, schema: object = None, verb: str = "returned") -> pa.Table:
    """Convert what a function returned.

    Args:
        data: One of `SUPPORTED` (not ``None``).
        schema: What the columns must be, see `to_schema`; needed for an empty list.
        verb: How the message of a `TypeError` begins.

    Returns:
        The table, without schema metadata. The index of a pandas frame is kept when it is named.

    Raises:
        TypeError: The type is not supported; the message lists those that are.
        InvalidArgumentError: The data contradicts itself or the schema, with code
            ``INVALID_OUTPUT``; the message names the row or column.
        FilesystemError: A path cannot be read.
    """
    wanted = None if schema is None else to_schema(schema)
    if isinstance(data, list | tuple):
        table = _from_rows(data, wanted, verb)
    else:
        try:
            table = _from_object(data, verb)
        except pa.ArrowException as exc:
            raise _invalid(f"{type(data).__name__} cannot be made an Arrow table: {exc}") from exc
        _refuse_repeated(table.column_names)
        if wanted is not None:
            table = _cast(table, wanted)
    if not table.column_names:
        raise _invalid("the data has no columns; return None if the asset leaves no data")
    return table.replace_schema_metadata(None)


def to_schema(schema: object) -> pa.Schema:
    """Convert what the author gave as a schema.

    Args:
        schema: A pyarrow Schema, or a mapping from column names to pyarrow types or their names
            (``{"id": "int64", "day": "date32"}``).

    Raises:
        TypeError: It is neither.
        InvalidArgumentError: A type name is unknown.
    """
    if isinstance(schema, pa.Schema):
        return schema
    if not isinstance(schema, Mapping):
        raise TypeError(
            f"schema= must be a pyarrow.Schema or a mapping of column names to types, "
            f"got {schema!r}"
        )
    fields = []
    for name, kind in schema.items():
        try:
            fields.append(
                pa.field(name, pa.type_for_alias(kind) if isinstance(kind, str) else kind)
            )
        except (TypeError, ValueError) as exc:
            raise _invalid(f"schema=: column {name!r} has no such Arrow type: {kind!r}") from exc
    return pa.schema(fields)


def _invalid(message: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(message, code="INVALID_OUTPUT")


def _from_object(data: object, verb: str) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    if isinstance(data, pa.RecordBatchReader):
        return data.read_all()
    if isinstance(data, Path):
        return _from_path(data, verb)
    package = type(data).__module__.partition(".")[0]
    name = type(data).__name__
    value = cast("Any", data)
    if package == "polars" and name == "LazyFrame":
        return value.collect().to_arrow()
    if package == "polars" and name == "DataFrame":
        return value.to_arrow()
    if package == "pandas" and name == "DataFrame":
        return _from_pandas(value)
    if package == "pyarrow" and hasattr(value, "to_table"):
        return value.to_table()
    if not isinstance(data, Mapping | str | bytes) and hasattr(value, "__arrow_c_stream__"):
        return pa.table(value)
    hint = " (wrap a file name in pathlib.Path)" if isinstance(data, str) else ""
    if hasattr(data, "__next__"):
        hint = " (a generator: use list(...) of it)"
    raise TypeError(f"{verb} {type(data).__qualname__}{hint}; expected {SUPPORTED}")


def _from_pandas(frame: Any) -> pa.Table:
    # Refused here: pyarrow would raise an error of its own that names no remedy.
    _refuse_repeated([str(name) for name in frame.columns])
    named = any(level is not None for level in frame.index.names)
    try:
        return pa.Table.from_pandas(frame, preserve_index=named)
    except (ValueError, OverflowError) as exc:
        if isinstance(exc, pa.ArrowException):
            raise
        raise _invalid(f"DataFrame cannot be made an Arrow table: {exc}") from exc


def _refuse_repeated(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise _invalid(f"columns {twice!r} appear more than once; give every column its own name")


def _cast(table: pa.Table, schema: pa.Schema) -> pa.Table:
    missing = [name for name in schema.names if name not in table.column_names]
    extra = [name for name in table.column_names if name not in schema.names]
    if missing or extra:
        raise _invalid(
            f"the columns differ from schema=: missing {missing!r}, not declared {extra!r}"
        )
    table = table.select(schema.names)
    for field in schema:
        column = table.column(field.name)
        try:
            column.cast(field.type)
        except pa.ArrowException as exc:
            raise _invalid(
                f"column {field.name!r} of type {column.type} does not fit {field.type} "
                f"of schema=: {exc}"
            ) from exc
        if not field.nullable and column.null_count:
            raise _invalid(f"column {field.name!r} holds nulls, which schema= forbids")
    return table.cast(schema)


# -- rows -------------------------------------------------------------------------------------


def _from_rows(rows: Sequence[object], schema: pa.Schema | None, verb: str) -> pa.Table:
    if not rows:
        if schema is None:
            raise _invalid(
                "an empty list has no columns; return AssetOut([], schema={...}) or "
                "ctx.output([], schema={...}) to say what they are"
            )
        return schema.empty_table()
    first = rows[0]
    if not isinstance(first, Mapping):
        raise TypeError(f"{verb} a list of {type(first).__qualname__}; expected {SUPPORTED}")
    names = list(first) if schema is None else schema.names
    _check_rows(rows, names)
    columns = []
    for name in names:
        if not isinstance(name, str):
            raise _invalid(f"row 0: the column name {name!r} is no string")
        try:
            check_unicode(name, "row 0: the column name")
        except ValueError as exc:
            raise _invalid(str(exc)) from None
        kind = None if schema is None else schema.field(name).type
        columns.append(_column(name, [cast("Any", row)[name] for row in rows], kind))
    return pa.Table.from_arrays(columns, names=names, schema=None)


def _check_rows(rows: Sequence[object], names: Iterable[str]) -> None:
    expected = set(names)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise _invalid(f"row {number} is {row!r:.80}, not a dict like the rows before")
        if row.keys() != expected:
            missing = sorted(str(name) for name in expected - row.keys())
            extra = sorted(str(name) for name in row.keys() - expected)
            raise _invalid(
                f"row {number} does not have the columns {sorted(map(str, expected))!r}: missing "
                f"{missing!r}, unexpected {extra!r}; use None for a value that is not there"
            )


def _column(name: str, values: list[Any], kind: pa.DataType | None) -> pa.Array:
    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as exc:
        raise _invalid(_misfit(name, values, kind, exc)) from exc


def _misfit(name: str, values: list[Any], kind: pa.DataType | None, error: Exception) -> str:
    # Halving finds the first row that breaks the column: prefixes before it convert.
    low, high = 0, len(values)
    found = kind
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            found = pa.array(values[:middle], type=kind).type
            low = middle
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            high = middle
    expected = f"; the column is {found} so far" if found is not None and low else ""
    return (
        f"row {low}, column {name!r}: {values[low]!r:.80} of type "
        f"{type(values[low]).__qualname__} does not fit{expected} ({error})"
    )


# -- files ------------------------------------------------------------------------------------


def _from_path(path: Path, verb: str) -> pa.Table:
    kind = path.suffix.lower()
    try:
        if kind == ".parquet":
            import pyarrow.parquet as pq

            with pq.ParquetFile(path) as file:
                return file.read()
        if kind == ".csv":
            import pyarrow.csv

            return pyarrow.csv.read_csv(path)
        if kind in (".jsonl", ".ndjson"):
            import pyarrow.json

            return pyarrow.json.read_json(path)
        if kind == ".json":
            return _from_json(path, verb)
    except OSError as exc:
        raise errors.FilesystemError(
            f"cannot read the path {str(path)!r}: {exc.strerror or exc}",
            code="OUTPUT_PATH",
        ) from exc
    except pa.ArrowException as exc:
        raise _invalid(f"the path {str(path)!r} is no valid {kind} file: {exc}") from exc
    raise TypeError(
        f"{verb} the path {str(path)!r}: files of kind {kind!r} are not supported; "
        f"expected .parquet, .csv, .json or .jsonl"
    )


def _from_json(path: Path, verb: str) -> pa.Table:
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as exc:
        raise _invalid(
            f"the path {str(path)!r} is no JSON: {exc}; name a file with one object per line .jsonl"
        ) from exc
    if not isinstance(rows, list):
        raise _invalid(f"the path {str(path)!r} must hold a JSON array of objects")
    return _from_rows(rows, None, verb)
