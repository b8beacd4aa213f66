"""Reading what upstream partitions wrote, as the type that the function asks for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from servo import errors
from servo.io.storage import DataRoot
from servo.types.keys import AssetKey
from servo.types.labels import label, run_command
from servo.types.partition_keys import PartitionKey
from servo.types.sessions import InputPartition

__all__ = ["READABLE", "PartitionReader"]

READABLE: Final = (
    "pyarrow.Table (the default), pyarrow.RecordBatchReader, pyarrow.dataset.Dataset, "
    "polars.DataFrame, polars.LazyFrame, pandas.DataFrame, list (of dicts) or pathlib.Path"
)
"""Types that data can be read as, for messages and documentation."""


class PartitionReader:
    """The data of some partitions of one asset; what ``AssetIn.read()`` calls.

    The rows of all partitions are put together in partition order. The values of the partition
    dimensions are columns only when the upstream wrote them; ``AssetIn.partitions`` has them.

    Args:
        root: Where data lies.
        key: The asset that is read.
        partitions: Its partitions, in order.
    """

    def __init__(self, root: DataRoot, key: AssetKey, partitions: Sequence[InputPartition]) -> None:
        self.key = key
        self.partitions = tuple(partitions)
        self._root = root
        self._table: pa.Table | None = None

    def read(
        self,
        as_type: type | None = None,
        *,
        columns: Sequence[str] | None = None,
        filter: Any = None,
    ) -> Any:
        """Read the data.

        Args:
            as_type: One of `READABLE`; ``None`` means ``pyarrow.Table``.
            columns: Names of the columns to read; all when left out.
            filter: A ``pyarrow.compute.Expression`` that selects rows.

        Raises:
            InvalidArgumentError: A partition is not materialised or has no data (code
                ``INPUT_NOT_AVAILABLE``), or the schemas of the partitions do not fit together
                (code ``INPUT_SCHEMA``).
            FilesystemError: A file that should be there is missing or unreadable.
            TypeError: ``as_type`` is not supported; the message lists what is.
        """
        package, name = _type_name(as_type)
        if package == "pathlib":
            return self._path()
        if (package, name) == ("polars", "LazyFrame") and columns is None and filter is None:
            return self._scan()
        if package == "pyarrow" and name.endswith("Dataset"):
            import pyarrow.dataset

            return pyarrow.dataset.dataset([str(path) for path in self._paths()])
        convert = _CONVERTERS.get((package, name))
        if convert is None:
            raise TypeError(f"{self.key} cannot be read as {as_type!r}; expected {READABLE}")
        return convert(self.table(columns=columns, filter=filter))

    def table(
        self, *, columns: Sequence[str] | None = None, filter: Any = None
    ) -> pa.Table:  # pyarrow's own name for it
        """Read the data as an Arrow table; the whole of it is read once and kept."""
        if columns is None and filter is None:
            if self._table is None:
                self._table = self._read(None)
            return self._table
        if filter is not None:
            import pyarrow.dataset

            found = pyarrow.dataset.dataset(
                [str(path) for path in self._paths()], schema=self._schema()
            )
            return found.to_table(columns=None if columns is None else list(columns), filter=filter)
        return self._read(list(columns or ()))

    def _paths(self) -> list[Path]:
        if not self.partitions:
            raise _not_available(
                f"{self.key} has no partition that belongs to this one: nothing can be read",
                "Widen the mapping or the declared range of the upstream.",
            )
        for partition in self.partitions:
            what = label(self.key, partition.partition_key)
            if not partition.materialization_id:
                raise _not_available(
                    f"{what} is not materialised",
                    f"Run it first: {run_command(self.key, partition.partition_key)} "
                    "(or add --upstream to this run).",
                )
            if not partition.has_data:
                raise _not_available(
                    f"{what} was materialised without data: its function returned None",
                    "Return data from it, or do not read it here.",
                )
        paths = [self._root.resolve(partition.path) for partition in self.partitions]
        gone = [
            partition
            for path, partition in zip(paths, self.partitions, strict=True)
            if _is_gone(path)
        ]
        if gone:
            raise self._missing(gone)
        return paths

    def _missing(self, gone: Sequence[InputPartition]) -> errors.FilesystemError:
        if not self._root.path.is_dir():
            return errors.FilesystemError(
                f"the data root {str(self._root.path)!r} is not there",
                code="DATA_UNREADABLE",
                hint="Check that its disk is mounted, and the setting data_root.",
            )
        first = label(self.key, gone[0].partition_key)
        if len(gone) == 1:
            message, again = f"the data of {first} is recorded but its file is gone", "it again"
        else:
            count = len(gone) - 1
            more = "another partition" if count == 1 else f"{count} more partitions"
            message = f"the data of {first} and {more} is recorded but the files are gone"
            again = "them again, the first one with"
        return errors.FilesystemError(
            message,
            code="DATA_MISSING",
            context={"path": gone[0].path},
            hint=f"Materialise {again}: {run_command(self.key, gone[0].partition_key)}",
        )

    def _path(self) -> Path:
        paths = self._paths()
        if len(paths) != 1:
            raise TypeError(
                f"{self.key}: {len(paths)} partitions are {len(paths)} files and cannot be read "
                f"as one Path; read them as a table"
            )
        return paths[0]

    def _read(self, columns: list[str] | None) -> pa.Table:
        paths = self._paths()
        tables = [
            self._load(path, partition, columns)
            for path, partition in zip(paths, self.partitions, strict=True)
        ]
        return self._concatenate(tables)

    def _schema(self) -> pa.Schema:
        # The same promotion as for whole tables.
        return self._concatenate(self._empty_tables(self._paths())).schema

    def _empty_tables(self, paths: list[Path]) -> list[pa.Table]:
        """Read the footers only."""
        return [
            self._load(path, partition, None, schema_only=True)
            for path, partition in zip(paths, self.partitions, strict=True)
        ]

    def _load(
        self,
        path: Path,
        partition: InputPartition,
        columns: list[str] | None,
        *,
        schema_only: bool = False,
    ) -> pa.Table:
        what = label(self.key, partition.partition_key)
        try:
            # The old file lives on under its mapping when a newer one is renamed over it.
            with pq.ParquetFile(path, memory_map=True) as file:
                missing = sorted(set(columns or ()) - set(file.schema_arrow.names))
                if missing:
                    raise errors.InvalidArgumentError(
                        f"{what} has no columns {missing!r}; it has {file.schema_arrow.names!r}",
                        code="INPUT_SCHEMA",
                    )
                if schema_only:
                    return file.schema_arrow.empty_table()
                return file.read(columns=columns, use_threads=False)
        except FileNotFoundError:
            raise self._missing([partition]) from None
        except (OSError, pa.ArrowException) as exc:
            raise errors.FilesystemError(
                f"the data of {what} cannot be read: {exc}",
                code="DATA_UNREADABLE",
                context={"path": partition.path},
                hint=f"Materialise it again: {run_command(self.key, partition.partition_key)}",
            ) from exc

    def _concatenate(self, tables: list[pa.Table]) -> pa.Table:
        first = tables[0]
        if len(tables) == 1:
            return first
        if all(table.schema.equals(first.schema) for table in tables):
            return pa.concat_tables(tables)
        try:
            return pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as exc:
            raise errors.InvalidArgumentError(
                self._difference(tables),
                code="INPUT_SCHEMA",
                hint="Materialise the older partitions again, or make the types agree.",
            ) from exc

    def _difference(self, tables: list[pa.Table]) -> str:
        seen: dict[str, tuple[pa.DataType, PartitionKey]] = {}
        for table, partition in zip(tables, self.partitions, strict=True):
            for field in table.schema:
                kind, where = seen.setdefault(field.name, (field.type, partition.partition_key))
                try:
                    pa.unify_schemas(
                        [pa.schema([(field.name, kind)]), pa.schema([field])],
                        promote_options="permissive",
                    )
                except pa.ArrowException:
                    return (
                        f"column {field.name!r} is {kind} in {label(self.key, where)} and "
                        f"{field.type} in {label(self.key, partition.partition_key)}"
                    )
        return f"the partitions of {self.key} have schemas that do not fit together"

    def _scan(self) -> Any:
        import polars as pl

        paths = self._paths()
        schemas = [table.schema for table in self._empty_tables(paths)]
        if all(schemas[0].equals(other) for other in schemas):
            return pl.scan_parquet(paths, glob=False, hive_partitioning=False)
        # The eager way promotes types and explains what is wrong.
        return pl.from_arrow(self.table()).lazy()  # type: ignore[union-attr]  # a table is no Series


def _is_gone(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        return False  # reading it says what is wrong
    return False


def _not_available(message: str, hint: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(message, code="INPUT_NOT_AVAILABLE", hint=hint)


def _type_name(as_type: type | None) -> tuple[str, str]:
    if as_type is None:
        return "pyarrow", "Table"
    if as_type in (list, Path):
        return ("builtins", "list") if as_type is list else ("pathlib", "Path")
    module = getattr(as_type, "__module__", "")
    return module.partition(".")[0], getattr(as_type, "__name__", repr(as_type))


def _to_polars(table: pa.Table) -> Any:
    import polars as pl

    return pl.from_arrow(table)


def _to_lazy(table: pa.Table) -> Any:
    return _to_polars(table).lazy()


def _same(table: pa.Table) -> Any:
    return table


_CONVERTERS: Final[dict[tuple[str, str], Any]] = {
    ("pyarrow", "Table"): _same,
    ("pyarrow", "RecordBatchReader"): pa.Table.to_reader,
    ("polars", "DataFrame"): _to_polars,
    ("polars", "LazyFrame"): _to_lazy,
    ("pandas", "DataFrame"): pa.Table.to_pandas,
    ("builtins", "list"): pa.Table.to_pylist,
}
