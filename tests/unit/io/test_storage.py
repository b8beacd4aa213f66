from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.io.storage import DataRoot, refuse_shared_directory
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import DailyPartition, PartitionStrategy, StaticDimension

KEY = AssetKey("raw", "events")


def test_an_asset_without_partitions_lies_directly_below_its_name() -> None:
    found = DataRoot(Path("/data")).relative(KEY, PartitionKey(), PartitionStrategy())
    assert found == "raw/events/data.parquet"


def test_directories_follow_the_declared_order_of_the_dimensions() -> None:
    strategy = PartitionStrategy([StaticDimension("region", ["eu"]), DailyPartition("date")])
    key = PartitionKey({"date": date(2025, 1, 5), "region": "eu"})
    found = DataRoot(Path("/data")).relative(KEY, key, strategy)
    assert found == "raw/events/region=eu/date=2025-01-05/data.parquet"


def test_paths_are_resolved_below_the_root() -> None:
    assert DataRoot(Path("/data")).resolve("a/b") == Path("/data/a/b")


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a\0b"])
def test_a_path_that_would_leave_the_root_is_refused(path: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="data root"):
        DataRoot(Path("/data")).resolve(path)


# -- file systems that fold case ---------------------------------------------------------------


def on_a_folding_file_system(path: Path) -> bool:
    """Tell whether a path exists for one that does not tell upper from lower case."""
    return path.parent.is_dir() and path.name.casefold() in {
        one.name.casefold() for one in path.parent.iterdir()
    }


@pytest.mark.parametrize(
    ("there", "wanted", "shared"),
    [
        ("region=North", "region=north", "region=North"),
        ("region=north", "region=NORTH", "region=north"),
        ("region=North", "region=North", None),
        ("region=North", "region=South", None),
        ("region=Eu/tenant=a", "region=eu/tenant=a", "region=Eu"),
        ("region=eu/tenant=A", "region=eu/tenant=a", "tenant=A"),
        ("region=__NULL__", "region=__null__", "region=__NULL__"),
        ("region=%C3%A4", "region=%C3%84", None),
        ("date=2025-01-01", "date=2025-01-01", None),
    ],
)
def test_a_directory_of_another_spelling_is_refused_where_case_is_folded(
    tmp_path: Path, there: str, wanted: str, shared: str | None
) -> None:
    asset = tmp_path / "raw" / "events"
    (asset / there).mkdir(parents=True)
    if shared is None:
        # Making it is what a publication does first; where it is there already that does nothing.
        (asset / wanted).mkdir(parents=True, exist_ok=True)
        refuse_shared_directory(asset / wanted, exists=on_a_folding_file_system)
        return
    with pytest.raises(errors.ConfigurationError, match="upper from lower case") as caught:
        refuse_shared_directory(asset / wanted, exists=on_a_folding_file_system)
    assert caught.value.code == "SHARED_PATH"
    assert caught.value.context["other"] == shared


@given(st.lists(st.text(), min_size=1, max_size=6, unique=True))
def test_values_share_a_directory_if_and_only_if_their_paths_differ_in_case_only(
    values: list[str],
) -> None:
    made: list[str] = []
    for value in values:
        name = PartitionKey({"v": value}).to_path()
        collides = any(one != name and one.casefold() == name.casefold() for one in made)
        directory = Path("/data/raw/events") / name
        if not collides:
            made.append(name)
        try:
            refuse_shared_directory(
                directory,
                names=lambda _: made,
                exists=lambda path: path.name.casefold() in {one.casefold() for one in made},
            )
        except errors.ConfigurationError:
            assert collides
        else:
            assert not collides


def test_values_that_differ_in_case_are_published_apart_where_case_counts(tmp_path: Path) -> None:
    for name in ("region=North", "region=north"):
        (tmp_path / name).mkdir()
    refuse_shared_directory(tmp_path / "region=North")
    refuse_shared_directory(tmp_path / "region=north")
