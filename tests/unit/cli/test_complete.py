"""What a shell offers where a selection is typed."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from servo.cli import _complete
from servo.types import AssetId

KEYS = ("mart.daily", "mart.weekly", "raw.orders")


@pytest.fixture
def context(tmp_path: Path) -> click.Context:
    (tmp_path / "pyproject.toml").write_text("[tool.servo]\n")
    (tmp_path / "assets").mkdir()
    (tmp_path / ".servo").mkdir()
    known = {"version": "1.0", "assetIds": {key: str(AssetId.generate()) for key in KEYS}}
    (tmp_path / ".servo" / "state.json").write_text(json.dumps(known))
    found = click.Context(click.Command("run"))
    found.params = {"project": tmp_path}
    return found


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("raw", ["raw.orders"]),
        ("", list(KEYS)),
        ("+mart.d", ["+mart.daily"]),
        ("2+mart.w", ["2+mart.weekly"]),
        ("not r", ["not raw.orders"]),
        ("raw.orders or +mart.d", ["raw.orders or +mart.daily"]),
        ("+(mart.d", ["+(mart.daily"]),
        ("x", []),
        ("raw.orders+mart", []),
    ],
)
def test_a_key_is_completed_wherever_it_stands(
    context: click.Context, typed: str, offered: list[str]
) -> None:
    parameter = click.Argument(["selection"])
    assert _complete.selections(context, parameter, typed) == offered
