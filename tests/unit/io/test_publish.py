from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from servo import errors
from servo.io.publish import Publisher, read_fence
from servo.io.storage import refuse_shared_directory
from servo.types.assets import Compression, IoConfig

TABLE = pa.table({"id": [1, 2, 3], "kind": ["b", "a", "b"]})


def publisher(target: Path, token: int = 1, store: str = "s1") -> Publisher:
    return Publisher(target, store_id=store, token=token, facts={"run_id": "r1"})


def put(target: Path, token: int = 1, store: str = "s1", table: pa.Table = TABLE) -> None:
    one = publisher(target, token, store)
    one.stage(table, IoConfig())
    one.publish()


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "raw" / "events" / "data.parquet"


def visible(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if not path.name.startswith("."))


def staged(directory: Path) -> list[Path]:
    return list(directory.glob(".staging-*"))


def test_published_data_is_read_back(target: Path) -> None:
    one = publisher(target)
    written = one.stage(TABLE, IoConfig())
    one.publish()
    assert pq.read_table(target).replace_schema_metadata(None).equals(TABLE)
    assert (written.row_count, written.byte_size) == (3, target.stat().st_size)


def test_nothing_is_visible_before_publishing(target: Path) -> None:
    publisher(target).stage(TABLE, IoConfig())
    assert visible(target.parent) == []


def test_discarded_data_leaves_nothing(target: Path) -> None:
    one = publisher(target)
    one.stage(TABLE, IoConfig())
    one.discard()
    assert list(target.parent.iterdir()) == []


def test_the_file_names_the_store_the_token_and_the_facts(target: Path) -> None:
    put(target, token=7)
    metadata = pq.read_metadata(target).metadata
    assert read_fence(target) == ("s1", 7)
    assert metadata[b"servo.run_id"] == b"r1"


def test_an_older_token_does_not_replace_newer_data(target: Path) -> None:
    put(target, token=5, table=pa.table({"id": [5]}))
    with pytest.raises(errors.LeaseExpiredError, match="token 5"):
        put(target, token=4)
    assert pq.read_table(target).column("id").to_pylist() == [5]
    assert staged(target.parent) == []


def test_a_token_of_another_store_does_not_count(target: Path) -> None:
    put(target, token=900, store="old")
    put(target, token=1, store="new")
    assert read_fence(target) == ("new", 1)


def test_a_file_without_a_fence_is_replaced(target: Path) -> None:
    target.parent.mkdir(parents=True)
    target.write_bytes(b"not parquet at all")
    put(target)
    assert read_fence(target) == ("s1", 1)


def test_staging_files_of_dead_attempts_go_and_those_of_newer_ones_stay(target: Path) -> None:
    for token in (3, 12):
        publisher(target, token).stage(TABLE, IoConfig())
    put(target, token=10)
    assert [path.name.split("-")[1] for path in staged(target.parent)] == ["12"]


def test_publishing_nothing_sets_the_old_data_aside_until_the_next_publication(
    target: Path,
) -> None:
    put(target, token=1)
    publisher(target, token=2).publish_nothing()
    assert visible(target.parent) == ["superseded.parquet"]
    put(target, token=3)
    assert visible(target.parent) == ["data.parquet"]


def test_publishing_nothing_where_nothing_is_touches_nothing(target: Path) -> None:
    publisher(target).publish_nothing()
    assert not target.parent.exists()


def test_publishing_nothing_with_an_old_token_is_refused(target: Path) -> None:
    put(target, token=5)
    with pytest.raises(errors.LeaseExpiredError):
        publisher(target, token=4).publish_nothing()
    assert target.exists()


def test_of_many_publishers_at_once_the_greatest_token_wins(target: Path) -> None:
    def attempt(token: int) -> None:
        with contextlib.suppress(errors.LeaseExpiredError):
            put(target, token=token, table=pa.table({"id": [token]}))

    threads = [threading.Thread(target=attempt, args=(token,)) for token in range(1, 13)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pq.read_table(target).column("id").to_pylist() == [12]
    assert staged(target.parent) == []


@pytest.mark.parametrize("compression", list(Compression))
def test_data_is_written_with_the_compression_asked_for(
    target: Path, compression: Compression
) -> None:
    one = publisher(target)
    one.stage(TABLE, IoConfig(compression=compression))
    one.publish()
    found = pq.read_metadata(target).row_group(0).column(0).compression
    assert found == {"none": "UNCOMPRESSED"}.get(compression.value, compression.value.upper())


def test_row_groups_have_the_size_asked_for(target: Path) -> None:
    one = publisher(target)
    one.stage(TABLE, IoConfig(row_group_rows=2))
    one.publish()
    assert pq.read_metadata(target).num_row_groups == 2


def test_partition_by_sorts_and_begins_a_row_group_for_each_value(target: Path) -> None:
    one = publisher(target)
    one.stage(TABLE, IoConfig(partition_by=("kind",)))
    one.publish()
    assert pq.read_table(target).to_pydict() == {"id": [2, 1, 3], "kind": ["a", "b", "b"]}
    assert pq.read_metadata(target).num_row_groups == 2


def test_partition_by_an_unknown_column_is_refused(target: Path) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=r"\['nope'\].*\['id', 'kind'\]"):
        publisher(target).stage(TABLE, IoConfig(partition_by=("nope",)))


def test_zero_rows_are_data(target: Path) -> None:
    put(target, table=TABLE.slice(0, 0))
    assert pq.read_table(target).num_rows == 0
    assert pq.read_schema(target).names == ["id", "kind"]


def test_a_column_that_parquet_cannot_hold_is_refused_and_leaves_nothing(target: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1], pa.int64())])
    with pytest.raises(errors.InvalidArgumentError, match="Parquet cannot hold"):
        publisher(target).stage(pa.table({"u": union}), IoConfig())
    assert staged(target.parent) == []


FILL_THE_DISK = """
import resource, sys
from pathlib import Path
import pyarrow as pa
from servo.io.publish import Publisher
from servo.types.assets import IoConfig, Compression
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
publisher = Publisher(Path(sys.argv[1]), store_id="s1", token=2)
table = pa.table({"n": list(range(100_000))})
try:
    publisher.stage(table, IoConfig(compression=Compression.NONE))
except Exception as exc:
    print(type(exc).__name__, exc.code, exc)
"""


def test_a_full_disk_is_said_and_leaves_the_old_data_in_place(target: Path) -> None:
    # A limit of the process stands for the disk: it needs no rights and works everywhere.
    put(target, token=1)
    before = target.read_bytes()
    found = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(target)],
        capture_output=True, text=True, timeout=60, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert found.stdout.startswith("FilesystemError DISK_FULL no space left"), found
    assert target.read_bytes() == before
    assert staged(target.parent) == []


def test_a_directory_that_cannot_be_written_is_a_filesystem_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.FilesystemError, match="cannot write") as caught:
        publisher(tmp_path / "file" / "data.parquet").stage(TABLE, IoConfig())
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno in (errno.ENOTDIR, errno.EEXIST)


def test_publishing_without_staging_is_a_programming_error(target: Path) -> None:
    with pytest.raises(RuntimeError, match="stage"):
        publisher(target).publish()


def test_data_of_another_spelling_is_neither_overwritten_nor_set_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a file system that folds case shows: the second name leads to the directory of the first.
    other = tmp_path / "region=North"
    put(other / "data.parquet")
    (tmp_path / "region=north").symlink_to(other)
    (tmp_path / "REGION=NORTH").symlink_to(other)
    view = partial(
        refuse_shared_directory,
        names=lambda path: [one.name for one in path.iterdir() if not one.is_symlink()],
    )
    monkeypatch.setattr("servo.io.publish.refuse_shared_directory", view)
    one = publisher(tmp_path / "region=north" / "data.parquet", token=2)
    with pytest.raises(errors.ConfigurationError, match="'region=north' would share"):
        one.stage(TABLE, IoConfig())
    with pytest.raises(errors.ConfigurationError, match="'region=north' would share"):
        one.publish_nothing()
    assert visible(other) == ["data.parquet"]
    assert staged(other) == []
    assert read_fence(other / "data.parquet") == ("s1", 1)
