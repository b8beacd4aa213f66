from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.io.formats import to_schema, to_table

ROWS = [{"id": 1, "name": "a"}, {"id": 2, "name": None}]
TABLE = pa.table({"id": [1, 2], "name": ["a", None]})


@pytest.mark.parametrize(
    "data",
    [
        TABLE,
        TABLE.to_batches()[0],
        TABLE.to_reader(),
        pl.DataFrame(ROWS),
        pl.LazyFrame(ROWS),
        pd.DataFrame(ROWS),
        ROWS,
        tuple(ROWS),
    ],
    ids=lambda data: type(data).__qualname__,
)
def test_every_supported_value_becomes_the_same_rows(data: object) -> None:
    assert to_table(data).to_pylist() == ROWS


def test_a_dataset_becomes_a_table(tmp_path: Path) -> None:
    import pyarrow.dataset

    pq.write_table(TABLE, tmp_path / "x.parquet")
    assert to_table(pyarrow.dataset.dataset(tmp_path)).to_pylist() == ROWS


def test_files_are_read_by_their_suffix(tmp_path: Path) -> None:
    pq.write_table(TABLE, tmp_path / "x.parquet")
    (tmp_path / "x.csv").write_text("id,name\n1,a\n2,b\n")
    (tmp_path / "x.json").write_text(json.dumps(ROWS))
    (tmp_path / "x.jsonl").write_text('{"id": 1}\n{"id": 2}\n')
    assert to_table(tmp_path / "x.parquet").to_pylist() == ROWS
    assert to_table(tmp_path / "x.csv").column("id").to_pylist() == [1, 2]
    assert to_table(tmp_path / "x.json").to_pylist() == ROWS
    assert to_table(tmp_path / "x.jsonl").column("id").to_pylist() == [1, 2]


def test_a_file_of_another_kind_is_a_type_error_with_the_kinds_that_work(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"'\.xlsx'.*\.parquet, \.csv"):
        to_table(tmp_path / "x.xlsx")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.FilesystemError, match=r"gone\.csv.*No such file"):
        to_table(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.parquet", b"PAR?"), ("x.json", b"{"), ("x.json", b'{"a": 1}'), ("x.jsonl", b"[[")],
)
def test_a_damaged_file_is_invalid_output(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(errors.InvalidArgumentError, match=name) as caught:
        to_table(tmp_path / name)
    assert caught.value.code == "INVALID_OUTPUT"


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (42, "returned int; expected a pyarrow Table"),
        ("out.parquet", r"wrap a file name in pathlib\.Path"),
        ((row for row in ROWS), r"use list\(\.\.\.\)"),
        ({"id": [1]}, "returned dict"),
        ([1, 2], "a list of int"),
    ],
    ids=["int", "str", "generator", "dict", "list of int"],
)
def test_an_unsupported_value_is_a_type_error_that_lists_what_is_supported(
    data: object, hint: str
) -> None:
    with pytest.raises(TypeError, match=hint) as caught:
        to_table(data)
    assert "a polars DataFrame" in str(caught.value)


def test_a_row_with_other_columns_is_named_by_its_number() -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"row 1 .*missing \['name'\].*\['nam'\]"):
        to_table([{"id": 1, "name": "a"}, {"id": 2, "nam": "b"}])


def test_a_row_that_is_no_dict_is_named_by_its_number() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="row 2 is 7"):
        to_table([{"id": 1}, {"id": 2}, 7])


@given(st.integers(1, 200), st.data())
def test_the_first_value_that_does_not_fit_is_found(length: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(1, length))
    rows: list[object] = [{"n": number} for number in range(length + 1)]
    rows[bad] = {"n": "text"}
    with pytest.raises(errors.InvalidArgumentError, match=f"row {bad}, column 'n': 'text'"):
        to_table(rows)


def test_an_integer_beyond_64_bits_is_named() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="row 1, column 'n'"):
        to_table([{"n": 1}, {"n": 2**80}])


def test_an_empty_list_needs_a_schema() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="schema="):
        to_table([])


def test_an_empty_list_with_a_schema_is_an_empty_table() -> None:
    table = to_table([], schema={"id": "int64", "day": pa.date32()})
    assert table.num_rows == 0
    assert table.schema == pa.schema([("id", pa.int64()), ("day", pa.date32())])


def test_rows_take_the_types_of_the_schema() -> None:
    table = to_table([{"id": 1, "day": date(2025, 1, 5)}], schema={"day": "date32", "id": "int8"})
    assert table.schema == pa.schema([("day", pa.date32()), ("id", pa.int8())])


def test_a_frame_is_cast_to_the_schema_in_its_order() -> None:
    table = to_table(pl.DataFrame({"a": [1], "b": ["x"]}), schema={"b": "string", "a": "int16"})
    assert table.schema == pa.schema([("b", pa.string()), ("a", pa.int16())])


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"id": "int64"}, "not declared"),
        ({"id": "int64", "name": "string", "more": "string"}, r"missing \['more'\]"),
        ({"id": "int64", "name": "int32"}, "'name' of type string does not fit int32"),
        ({"id": "int65", "name": "string"}, "'id' has no such Arrow type: 'int65'"),
        (
            pa.schema([pa.field("id", pa.int64()), pa.field("name", pa.string(), nullable=False)]),
            "'name' holds nulls",
        ),
    ],
)
def test_data_that_does_not_fit_the_schema_names_the_column(schema: object, message: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=message):
        to_table(TABLE, schema=schema)


def test_a_schema_of_another_type_is_a_type_error() -> None:
    with pytest.raises(TypeError, match=r"pyarrow\.Schema or a mapping"):
        to_schema(["id"])


def test_repeated_columns_are_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"\['a'\] appear more than once"):
        to_table(pa.table([[1], [2]], names=["a", "a"]))


def test_data_without_columns_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="no columns"):
        to_table(pl.DataFrame())


def test_a_named_pandas_index_is_kept_and_an_unnamed_one_is_not() -> None:
    frame = pd.DataFrame({"v": [1, 2]}, index=[7, 8])
    assert to_table(frame).column_names == ["v"]
    assert to_table(frame.rename_axis("k")).column_names == ["v", "k"]


def test_metadata_of_libraries_is_not_kept() -> None:
    assert to_table(pd.DataFrame(ROWS)).schema.metadata is None


@pytest.mark.parametrize(
    "data",
    [
        pd.DataFrame([[1, 2]], columns=["x", "x"]),
        pd.DataFrame([[1, 2, 3]], columns=[1, "1", 2]),
        pa.table([[1], [2]], names=["x", "x"]),
    ],
    ids=["pandas", "pandas, numbers", "pyarrow"],
)
@pytest.mark.parametrize("schema", [None, {"x": "int64"}])
def test_repeated_columns_are_an_invalid_output_of_every_kind(data: object, schema: object) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"\['[x1]'\] appear more than") as caught:
        to_table(data, schema=schema)
    assert caught.value.code == "INVALID_OUTPUT"


def test_what_pandas_holds_and_arrow_cannot_is_an_invalid_output() -> None:
    for values in ([1, "a"], [2**80, 1]):
        with pytest.raises(errors.InvalidArgumentError, match="DataFrame cannot be made") as caught:
            to_table(pd.DataFrame({"x": pd.Series(values, dtype=object)}))
        assert caught.value.code == "INVALID_OUTPUT"


def test_a_column_name_that_is_no_unicode_is_named() -> None:
    with pytest.raises(errors.InvalidArgumentError, match="row 0: the column name is no Unicode"):
        to_table([{"\udce9": 1}])
