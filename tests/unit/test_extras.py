"""Libraries that an installation may lack."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from servo import _extras, errors

ROOT = Path(__file__).parents[2]


def test_every_extra_that_is_named_exists_and_brings_its_library() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    distributions = {"jwt": "pyjwt", "opentelemetry": "opentelemetry-api"}
    for package, extra in _extras.EXTRAS.items():
        brought = " ".join(project["optional-dependencies"][extra])
        assert distributions.get(package, package) in brought


def test_a_library_that_is_not_installed_is_named_with_the_command_that_installs_it() -> None:
    with (
        pytest.raises(errors.ConfigurationError, match=r"reading needs duckdb") as caught,
        _extras.needing("duckdb", "reading"),
    ):
        raise ModuleNotFoundError("No module named 'duckdb.sub'", name="duckdb.sub")
    assert caught.value.code == "MISSING_EXTRA"
    assert "pip install 'arco-servo[sql]'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_library_that_is_installed_and_broken_is_not_said_to_be_missing() -> None:
    with pytest.raises(ModuleNotFoundError, match="numpy"), _extras.needing("duckdb", "reading"):
        raise ModuleNotFoundError("No module named 'numpy'", name="numpy")


@pytest.mark.parametrize("given", ["inputs={'up': [{'a': 1}]}", ""])
def test_materialize_says_what_is_missing(given: str) -> None:
    parameter = ", up: AssetIn['raw.up']" if given else ""
    script = f"""
import sys
sys.modules["pyarrow"] = None
from servo import AssetIn, asset, errors
from servo.testing import materialize
@asset
def mail(ctx): pass
@asset
def one(ctx{parameter}) -> list[dict]: raise SystemError
assert materialize(mail).table is None
try:
    materialize(one, {given})
except errors.ConfigurationError as exc:
    print(exc)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'arco-servo[parquet]'" in done.stdout


def test_a_module_that_imports_a_missing_library_of_an_extra_is_told_the_extra(
    tmp_path: Path,
) -> None:
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "a.py").write_text("import polars\n")
    script = f"""
import sys
sys.modules["polars"] = None
from servo import errors
from servo.manifest import AssetDiscovery
try:
    AssetDiscovery({str(tmp_path)!r}).discover()
except errors.DiscoveryError as exc:
    print(exc)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "assets/a.py:1: ModuleNotFoundError" in done.stdout
    assert "(pip install 'arco-servo[polars]')" in done.stdout
