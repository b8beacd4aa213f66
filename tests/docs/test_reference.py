"""The tables of the reference are what the code says."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import _reference_docs
from servo import errors
from servo.cli._environment import IGNORED
from servo.config.settings import setting_fields

PAGES = _reference_docs.ROOT / _reference_docs.PAGES


def test_the_tables_are_current() -> None:
    assert _reference_docs.main(["--check"]) == 0, _reference_docs.REMEDY


def test_a_table_that_was_edited_is_named_and_made_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(PAGES, tmp_path / "reference")
    page = folder / "errors.md"
    page.write_text(page.read_text().replace("| 69 |", "| 70 |"))
    assert _reference_docs.main(["--check", "--folder", str(folder)]) == 1
    assert "errors.md is not what the code says" in capsys.readouterr().err
    assert _reference_docs.main(["--folder", str(folder)]) == 0
    assert page.read_text() == (PAGES / "errors.md").read_text()


def test_a_page_without_a_place_for_its_table_is_refused() -> None:
    with pytest.raises(ValueError, match="0 places for the table 'settings'"):
        _reference_docs.rendered("configuration.md", "# Configuration\n")


def test_every_error_status_and_setting_has_a_row() -> None:
    page = (PAGES / "errors.md").read_text()
    for name in errors.__all__:
        assert not name.endswith("Error") or f"`{name}`" in page
    for code in errors.GRPC_CODES:
        assert code == "OK" or f"| {code} |" in page
    page = (PAGES / "configuration.md").read_text()
    for one in setting_fields():
        assert f"| `SERVO_{one.name.upper()}` |" in page


def test_every_variable_that_may_differ_is_on_the_page_about_environments() -> None:
    page = (PAGES.parent / "howto" / "environment.md").read_text()
    rows = [
        f"| {origin} | {', '.join(f'`{name}`' for name in names)} |"
        for origin, names in IGNORED.items()
    ]
    assert [row for row in rows if row not in page] == []
