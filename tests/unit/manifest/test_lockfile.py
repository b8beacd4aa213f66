from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies
from servo import errors
from servo.manifest import Lockfile
from servo.manifest._file_lock import exclusive
from servo.manifest._lockfile_text import parse_lockfile, print_lockfile
from servo.types import AssetId, AssetKey

ONE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
TWO = "01BX5ZZKBKACTAV9WEVGEMMVRZ"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".servo" / "state.json"


def _write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def _text(ids: dict[str, str]) -> str:
    return print_lockfile({key: AssetId(one) for key, one in ids.items()})


def test_a_lockfile_that_does_not_exist_is_empty(path: Path) -> None:
    assert dict(Lockfile.load(path).asset_ids) == {}


def test_an_id_is_minted_once(path: Path) -> None:
    lockfile = Lockfile.load(path)
    minted, created = lockfile.get_or_create(AssetKey("raw", "events"))
    again, created_again = lockfile.get_or_create("raw.events")
    assert (created, created_again) == (True, False)
    assert minted == again


def test_saved_ids_are_loaded_again(path: Path) -> None:
    lockfile = Lockfile.load(path)
    minted, _ = lockfile.get_or_create("raw.events")
    lockfile.save(path)
    assert dict(Lockfile.load(path).asset_ids) == {"raw.events": minted}


def test_the_text_is_indented_sorted_and_ends_with_a_newline(path: Path) -> None:
    lockfile = Lockfile({"raw.b": TWO, "raw.a": ONE})
    lockfile.save(path)
    assert path.read_text() == (
        '{\n  "assetIds": {\n    "raw.a": "01ARZ3NDEKTSV4RRFFQ69G5FAV",\n'
        '    "raw.b": "01BX5ZZKBKACTAV9WEVGEMMVRZ"\n  },\n  "version": "1.0"\n}\n'
    )


def test_saving_nothing_new_leaves_bytes_and_time_alone(path: Path) -> None:
    # Not even the layout of a file that somebody formatted differently.
    _write(path, json.dumps({"version": "1.0", "assetIds": {"raw.a": ONE}}))
    os.utime(path, ns=(1, 1))
    before = path.read_bytes()
    lockfile = Lockfile.load(path)
    lockfile.get_or_create("raw.a")
    lockfile.save()
    assert (path.read_bytes(), path.stat().st_mtime_ns) == (before, 1)
    assert list(path.parent.iterdir()) == [path]


def test_the_servers_answer_wins(path: Path) -> None:
    lockfile = Lockfile.load(_write(path, _text({"raw.a": ONE})))
    assert lockfile.update_from_server({"raw.a": TWO})
    lockfile.save()
    assert Lockfile.load(path).asset_ids["raw.a"] == TWO


def test_an_answer_that_says_nothing_new_changes_nothing(path: Path) -> None:
    lockfile = Lockfile.load(_write(path, _text({"raw.a": ONE})))
    assert not lockfile.update_from_server({"raw.a": ONE})
    assert not lockfile.changed


def test_a_malformed_answer_is_refused_as_a_whole() -> None:
    lockfile = Lockfile({"raw.a": ONE})
    with pytest.raises(ValueError, match="Invalid ULID"):
        lockfile.update_from_server({"raw.a": TWO, "raw.b": "nonsense"})
    assert lockfile.asset_ids["raw.a"] == ONE


def test_what_another_process_saved_meanwhile_is_kept(path: Path) -> None:
    mine, other = Lockfile.load(path), Lockfile.load(path)
    other.get_or_create("raw.other")
    other.save()
    mine.get_or_create("raw.mine")
    mine.save()
    assert set(Lockfile.load(path).asset_ids) == {"raw.mine", "raw.other"}


def test_of_two_ids_minted_for_one_asset_the_first_saved_counts_for_both(path: Path) -> None:
    mine, other = Lockfile.load(path), Lockfile.load(path)
    first, _ = other.get_or_create("raw.a")
    other.save()
    mine.get_or_create("raw.a")
    mine.save()
    assert mine.asset_ids["raw.a"] == first


def test_removing_an_asset_keeps_its_entry(path: Path) -> None:
    lockfile = Lockfile.load(_write(path, _text({"raw.gone": ONE})))
    lockfile.get_or_create("raw.new")
    lockfile.save()
    assert Lockfile.load(path).asset_ids["raw.gone"] == ONE


def test_a_renamed_asset_keeps_its_id(path: Path) -> None:
    lockfile = Lockfile.load(_write(path, _text({"raw.old": ONE})))
    assert lockfile.rename("raw.old", "raw.new") == ONE
    lockfile.save()
    assert dict(Lockfile.load(path).asset_ids) == {"raw.new": ONE}


def test_renaming_what_is_not_there_is_refused() -> None:
    with pytest.raises(errors.NotFoundError, match=r"raw\.old"):
        Lockfile().rename("raw.old", "raw.new")


def test_renaming_onto_an_asset_that_has_an_id_is_refused() -> None:
    with pytest.raises(errors.ConflictError, match="lose one of the two histories"):
        Lockfile({"raw.old": ONE, "raw.new": TWO}).rename("raw.old", "raw.new")


def test_a_frozen_lockfile_lists_what_it_lacks() -> None:
    lockfile = Lockfile({"raw.a": ONE}, frozen=True)
    with pytest.raises(errors.LockfileError, match=r"raw\.b, raw\.c") as caught:
        lockfile.require(["raw.c", "raw.a", "raw.b"])
    assert caught.value.exit_code == 78


def test_a_frozen_lockfile_mints_nothing() -> None:
    with pytest.raises(errors.LockfileError, match=r"raw\.b"):
        Lockfile(frozen=True).get_or_create("raw.b")


def test_a_malformed_key_gets_no_id() -> None:
    with pytest.raises(ValueError, match="Invalid asset key"):
        Lockfile().get_or_create("Raw.Events")


GOOD = _text({"raw.a": ONE, "raw.b": TWO})


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "is empty"),
        (GOOD[:40], 3, "no valid JSON"),
        (b'{\n"\xff"', 2, "no UTF-8"),
        ("[]", 1, "no JSON object"),
        ("[" * 100_000, 1, "(nested too deeply|no valid JSON)"),
        ("<<<<<<< ours\n" + GOOD, 1, "conflict markers"),
        (GOOD.replace('"1.0"', '"2.0"'), 6, "newer Servo"),
        (GOOD.replace('"1.0"', '"1.2"'), 6, "newer Servo"),
        (GOOD.replace('"1.0"', '"0.9"'), 6, "unknown version"),
        (GOOD.replace('"1.0"', "1"), 6, "has the version 1"),
        (GOOD.replace("assetIds", "assetIDs"), 2, "unknown entry 'assetIDs'"),
        ('{\n"version": "1.0"\n}', 1, "no object assetIds"),
        ('{\n"assetIds": [],\n"version": "1.0"\n}', 2, "no object assetIds"),
        (GOOD.replace(TWO, ONE), 4, "to both 'raw.a' and 'raw.b'"),
        (GOOD.replace("raw.b", "raw.a"), 4, "'raw.a' twice"),
        (GOOD.replace("raw.b", "Raw.b"), 4, "Invalid asset key 'Raw.b'"),
        (GOOD.replace("raw.b", "plain"), 4, "Invalid asset key 'plain'"),
        (GOOD.replace(TWO, TWO[:-1]), 4, "Invalid ULID"),
        (GOOD.replace(f'"{TWO}"', "7"), 4, "made from a string"),
    ],
)
def test_a_damaged_lockfile_is_an_error_that_names_file_line_and_remedy(
    path: Path, text: str | bytes, line: int, expected: str
) -> None:
    _write(path, text)
    before = path.read_bytes()
    with pytest.raises(errors.LockfileError, match=expected) as caught:
        Lockfile.load(path)
    assert f"{str(path)!r}, line {line}," in str(caught.value)
    assert "To go on:" in str(caught.value)
    assert caught.value.exit_code == 78
    assert path.read_bytes() == before


def test_a_lockfile_that_became_corrupt_since_it_was_loaded_is_not_replaced(path: Path) -> None:
    lockfile = Lockfile.load(path)
    lockfile.get_or_create("raw.a")
    _write(path, "damaged")
    with pytest.raises(errors.LockfileError):
        lockfile.save()
    assert path.read_text() == "damaged"


def test_a_lockfile_that_is_a_directory_is_an_error(path: Path) -> None:
    path.mkdir(parents=True)
    with pytest.raises(errors.LockfileError, match="cannot be read"):
        Lockfile.load(path)


def test_a_place_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lockfile = Lockfile({"raw.a": ONE})
    with pytest.raises(errors.FilesystemError, match="cannot be written"):
        lockfile.save(tmp_path / "file" / "state.json")


def test_a_lockfile_without_a_place_says_so() -> None:
    with pytest.raises(errors.LockfileError, match=r"save\(path\)"):
        Lockfile().save()


def test_a_lock_that_is_never_released_is_an_error_that_says_so(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        exclusive(lock),
        pytest.raises(errors.LockfileError, match="another process has held"),
        exclusive(lock, patience_seconds=0.05),
    ):
        raise AssertionError("the lock was given twice")


def test_a_saved_lockfile_has_the_modes_of_other_files(path: Path) -> None:
    Lockfile({"raw.a": ONE}).save(path)
    assert path.stat().st_mode & 0o444 == 0o444
    path.chmod(0o640)
    lockfile = Lockfile.load(path)
    lockfile.get_or_create("raw.b")
    lockfile.save()
    assert path.stat().st_mode & 0o777 == 0o640


def test_threads_that_save_at_once_lose_nothing(path: Path) -> None:
    def add(name: str) -> None:
        lockfile = Lockfile.load(path)
        lockfile.get_or_create(f"raw.{name}")
        lockfile.save()

    threads = [threading.Thread(target=add, args=(f"a{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(Lockfile.load(path).asset_ids) == 8


SAVE = """
import sys
from servo.manifest import Lockfile

path, own = sys.argv[1:]
lockfile = Lockfile.load(path)
lockfile.get_or_create("raw.shared")
lockfile.get_or_create(f"raw.{own}")
sys.stdin.readline()
lockfile.save()
print(lockfile.asset_ids["raw.shared"])
"""


def test_processes_that_save_at_once_agree_and_lose_nothing(path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": os.pathsep.join(one for one in sys.path if one)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SAVE, str(path), f"own{number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environ,
        )
        for number in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    shared = {process.communicate(timeout=60)[0].strip() for process in processes}
    ids = Lockfile.load(path).asset_ids
    assert shared == {ids["raw.shared"]}
    assert len(ids) == 5


@given(st.dictionaries(strategies.asset_keys().map(str), strategies.asset_ids(), max_size=8))
def test_printing_and_parsing_are_inverse(ids: dict[str, AssetId]) -> None:
    unique = {one: key for key, one in ids.items()}
    ids = {key: one for one, key in unique.items()}
    assert parse_lockfile(print_lockfile(ids).encode(), "state.json").ids == ids


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_crash_the_parser(data: bytes) -> None:
    try:
        parse_lockfile(data, "state.json")
    except errors.LockfileError as error:
        assert "state.json" in str(error)
