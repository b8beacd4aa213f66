from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from servo import controlplane, errors
from servo.cli import _output

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0.0 s"), (0.44, "0.4 s"), (59.9, "59.9 s"), (125, "2 min 5 s"), (10_860, "3 h 1 min")],
)
def test_lengths_of_time_are_told_in_people_units(seconds: float, text: str) -> None:
    assert _output.duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (2**50, "1024.0 TiB")],
)
def test_sizes_are_told_in_binary_units(number: int, text: str) -> None:
    assert _output.size(number) == text


def test_counts_agree_with_their_noun() -> None:
    assert [_output.count(number, "asset") for number in (0, 1, 1234)] == [
        "0 assets",
        "1 asset",
        "1,234 assets",
    ]


def test_nothing_has_elapsed_before_the_start() -> None:
    assert _output.elapsed(None, None) == ""
    assert _output.elapsed(NOON, NOON + timedelta(seconds=2)) == "2.0 s"
    assert _output.elapsed(NOON, None, now=NOON + timedelta(seconds=3)) == "3.0 s"


def test_a_table_is_aligned_text_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _output.table(("name", ">rows"), [("a", "5"), ("long name", "1,000")])
    assert capsys.readouterr().out == "name        rows\na              5\nlong name  1,000\n"


def test_a_close_word_is_suggested() -> None:
    assert _output.did_you_mean("rnu", ["run", "status"]) == " Did you mean 'run'?"
    assert _output.did_you_mean("zzz", ["run", "status"]) == ""


def test_an_error_for_programs_is_the_json_of_its_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from servo import _wire

    cause = errors.UnavailableError("no answer")
    try:
        raise errors.ConfigurationError("broken", context={"a": 1}) from cause
    except errors.ConfigurationError as error:
        _output.print_error_json(error)
        detail = _wire.to_canonical_json(error)
    assert json.loads(capsys.readouterr().out) == json.loads(detail)


def test_states_keep_their_text_whatever_the_colour() -> None:
    assert click.unstyle(_output.state("failed")) == "failed"
    assert _output.state("unheard-of") in ("unheard-of", "unheard-of\x1b[0m")


@pytest.mark.parametrize(
    ("code", "context", "flag"),
    [
        ("PARTITION_REQUIRED", {}, "--all-partitions"),
        ("UPSTREAM_MISSING", {}, "--upstream"),
        ("NOTHING_TO_RERUN", {"run_id": "01"}, "--all"),
        ("ASSET_NOT_FOUND", {"run_id": "01"}, "--same-deployment"),
        ("INVALID_PARTITION", {"run_id": "01"}, "--same-deployment"),
    ],
)
def test_a_refusal_of_the_control_plane_is_shown_with_the_flag_that_helps(
    capsys: pytest.CaptureFixture[str], code: str, context: dict[str, str], flag: str
) -> None:
    error = errors.InvalidArgumentError("it is so", code=code, context=context)
    _output.print_error(error)
    _output.print_error_json(error)
    printed = capsys.readouterr()
    assert f"it is so. {flag}" in printed.err.replace("--partition NAME=VALUE, ", "").replace(
        "--partitions FIRST..LAST or ", ""
    )
    assert flag in json.loads(printed.out)["message"]
    assert flag not in str(error)


def test_no_error_of_the_control_plane_speaks_of_flags_of_the_command_line() -> None:
    """Except its own command, ``python -m servo.controlplane``, and what that works on."""
    package = Path(controlplane.__file__).parent
    own = {"__main__.py", "serve.py", "standing.py", "backup.py", "admission.py"}
    flags = re.compile(r"(?<![-\w])--[a-z]")
    found = [
        f"{path.name}: {node.value}"
        for path in package.rglob("*.py")
        if path.name not in own
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if flags.search(node.value)
    ]
    assert found == []
