from __future__ import annotations

import time
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from servo import errors
from servo.io.reading import PartitionReader
from servo.io.storage import DataRoot
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.sessions import InputPartition

KEY = AssetKey("raw", "events")


def reader(root: Path, *tables: pa.Table | None, materialized: bool = True) -> PartitionReader:
    partitions = []
    for number, table in enumerate(tables, start=1):
        path = f"raw/events/date=2025-01-{number:02}/data.parquet"
        if table is not None:
            target = root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, target)
        partitions.append(
            InputPartition(
                partition_key=PartitionKey({"date": date(2025, 1, number)}),
                materialization_id="m" if materialized else "",
                has_data=table is not None,
                path=path,
            )
        )
    return PartitionReader(DataRoot(root), KEY, partitions)


ONE = pa.table({"id": [1, 2], "name": ["a", "b"]})
TWO = pa.table({"id": [3], "name": ["c"]})
ROWS = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}, {"id": 3, "name": "c"}]


def test_partitions_are_put_together_in_order(tmp_path: Path) -> None:
    assert reader(tmp_path, ONE, TWO).read().to_pylist() == ROWS


@pytest.mark.parametrize(
    ("as_type", "rows"),
    [
        (pa.Table, lambda data: data.to_pylist()),
        (pa.RecordBatchReader, lambda data: data.read_all().to_pylist()),
        (pyarrow.dataset.Dataset, lambda data: data.to_table().to_pylist()),
        (pl.DataFrame, lambda data: data.to_dicts()),
        (pl.LazyFrame, lambda data: data.collect().to_dicts()),
        (pd.DataFrame, lambda data: data.to_dict("records")),
        (list, lambda data: data),
    ],
    ids=["Table", "RecordBatchReader", "Dataset", "polars", "polars lazy", "pandas", "list"],
)
def test_data_arrives_as_the_type_asked_for(tmp_path: Path, as_type: type, rows: object) -> None:
    found = reader(tmp_path, ONE, TWO).read(as_type)
    assert isinstance(found, as_type)
    assert callable(rows)
    assert rows(found) == ROWS


def test_one_partition_can_be_read_as_a_path(tmp_path: Path) -> None:
    assert pq.read_table(reader(tmp_path, ONE).read(Path)).to_pylist() == ROWS[:2]


def test_two_partitions_are_no_path(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="2 files"):
        reader(tmp_path, ONE, TWO).read(Path)


def test_an_unknown_type_is_refused_with_those_that_work(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"raw\.events cannot be read as .*polars\.DataFrame"):
        reader(tmp_path, ONE).read(set)


def test_columns_and_rows_can_be_selected(tmp_path: Path) -> None:
    one = reader(tmp_path, ONE, TWO)
    assert one.read(list, columns=["name"]) == [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    assert one.read(list, filter=pc.field("id") > 1, columns=["id"]) == [{"id": 2}, {"id": 3}]
    assert one.read(pl.LazyFrame, columns=["id"]).collect().to_dicts()[0] == {"id": 1}


def test_unknown_columns_are_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"\['nope'\].*\['id', 'name'\]"):
        reader(tmp_path, ONE).read(columns=["nope"])


def test_a_partition_that_is_not_materialised_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        reader(tmp_path, None, materialized=False).read()
    assert "raw.events[date=2025-01-01] is not materialised" in str(caught.value)
    assert "servo run raw.events" in str(caught.value)
    assert caught.value.code == "INPUT_NOT_AVAILABLE"


def test_a_side_effect_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="materialised without data"):
        reader(tmp_path, None).read()


def test_no_partitions_at_all_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="no partition that belongs"):
        reader(tmp_path).read()


@pytest.mark.parametrize("as_type", [pa.Table, pl.LazyFrame, pyarrow.dataset.Dataset, Path, list])
def test_a_vanished_file_is_named_whatever_its_data_is_read_as(
    tmp_path: Path, as_type: type
) -> None:
    one = reader(tmp_path, ONE)
    next(tmp_path.rglob("data.parquet")).unlink()
    with pytest.raises(errors.FilesystemError) as caught:
        one.read(as_type)
    assert caught.value.code == "DATA_MISSING"
    # The command at the end is one to paste.
    assert str(caught.value) == (
        "the data of raw.events[date=2025-01-01] is recorded but its file is gone. "
        "Materialise it again: servo run raw.events --partition date=2025-01-01"
    )


def test_of_several_vanished_files_the_first_is_named(tmp_path: Path) -> None:
    two = reader(tmp_path, ONE, ONE)
    for path in tmp_path.rglob("data.parquet"):
        path.unlink()
    with pytest.raises(
        errors.FilesystemError, match="and another partition is recorded but the files"
    ):
        two.read()


@pytest.mark.parametrize("as_type", [pa.Table, pl.LazyFrame])
def test_a_file_that_cannot_be_looked_at_is_not_taken_for_a_deleted_one(
    tmp_path: Path, as_type: type
) -> None:
    one = reader(tmp_path, ONE)
    path = next(tmp_path.rglob("data.parquet"))
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(errors.FilesystemError, match="cannot be read") as caught:
        one.read(as_type)
    assert caught.value.code == "DATA_UNREADABLE"


def test_a_data_root_that_is_not_there_is_no_vanished_file(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    one = reader(root, ONE)
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(errors.FilesystemError, match="is not there") as caught:
        one.read()
    assert caught.value.code == "DATA_UNREADABLE"


def test_a_damaged_file_is_a_filesystem_error(tmp_path: Path) -> None:
    one = reader(tmp_path, ONE)
    next(tmp_path.rglob("data.parquet")).write_bytes(b"PAR1 broken PAR1")
    with pytest.raises(errors.FilesystemError, match="cannot be read"):
        one.read()


def test_schemas_that_differ_are_promoted(tmp_path: Path) -> None:
    wider = pa.table({"id": [3.5], "name": ["c"], "more": [True]})
    one = reader(tmp_path, ONE, wider)
    assert one.read(list)[2] == {"id": 3.5, "name": "c", "more": True}
    assert one.read(list)[0] == {"id": 1.0, "name": "a", "more": None}
    assert one.read(pl.LazyFrame).collect().height == 3
    assert one.read(list, filter=pc.field("id") > 3)[0]["more"] is True


def test_schemas_that_contradict_each_other_name_column_and_partitions(tmp_path: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError) as caught:
        reader(tmp_path, ONE, pa.table({"id": ["x"], "name": ["c"]})).read()
    message = str(caught.value)
    assert "column 'id' is int64 in raw.events[date=2025-01-01] and string" in message
    assert "2025-01-02" in message


def test_a_path_that_leaves_the_root_is_refused(tmp_path: Path) -> None:
    partition = InputPartition(
        partition_key=PartitionKey(), materialization_id="m", has_data=True, path="../x.parquet"
    )
    with pytest.raises(errors.InvalidArgumentError, match="below the data root"):
        PartitionReader(DataRoot(tmp_path), KEY, [partition]).read()


def test_a_year_of_small_files_is_read_fast(tmp_path: Path) -> None:
    partitions = []
    for number in range(365):
        path = f"raw/events/n={number}/data.parquet"
        (tmp_path / path).parent.mkdir(parents=True)
        pq.write_table(ONE, tmp_path / path)
        partitions.append(
            InputPartition(
                partition_key=PartitionKey({"n": number}),
                materialization_id="m",
                has_data=True,
                path=path,
            )
        )
    begun = time.perf_counter()
    table = PartitionReader(DataRoot(tmp_path), KEY, partitions).read()
    assert table.num_rows == 730
    # A few milliseconds each would be slow already; the margin is for a busy machine.
    assert time.perf_counter() - begun < 3.0
