from __future__ import annotations

import ast
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from servo import _terminal, controlplane, errors
from servo.cli import _output
from servo.cli.rerun import rerun
from servo.cli.run import run

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


ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
LABEL = 'mart.sales[date=2025-01-05,region="north, of course",channel=日本語]'
ROW = (LABEL, "failed", "3", "2.0 s", "1,000", f"user_code: no file for {ID} " + "many words " * 9)
TASKS = ("task", "state", ">attempt", ">took", ">rows", "~why")
RUNS = ("run", "state", "created", ">took", ">tasks", ">ok", ">failed", ">skipped", "~selection")
RUN = (ID, "running, held", "2025-01-05 10:00:00", "2 min 5 s", "12", "3", "1", "0", "mart.* raw.*")


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
@pytest.mark.parametrize(("headings", "row"), [(TASKS, ROW), (RUNS, RUN)])
def test_a_table_fits_the_terminal_and_cuts_nothing(
    headings: tuple[str, ...],
    row: tuple[str, ...],
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    _output.table(headings, [row])
    shown = click.unstyle(capsys.readouterr().out)
    lines = shown.splitlines()
    too_long = [line for line in lines if _terminal.width(line) > columns]
    # A name that is longer than the whole line stays in one piece; the terminal wraps it.
    assert all(line.startswith(LABEL) for line in too_long)
    assert lines[2].startswith(row[0])
    words = [word for cell in row for word in cell.split()]
    assert [word for word in words if word not in shown] == []
    assert shown.count(ID) == 1


def test_a_narrow_table_puts_below_the_row_what_does_not_fit(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    _output.table(RUNS, [RUN])
    assert click.unstyle(capsys.readouterr().out) == (
        "run                         state\n"
        "─────────────────────────────────────────\n"
        "01ARZ3NDEKTSV4RRFFQ69G5FAV  running, held\n"
        "    created 2025-01-05 10:00:00   took 2 min 5 s   tasks 12\n"
        "    ok 3   failed 1   skipped 0\n"
        "    selection: mart.* raw.*\n"
    )


def test_wide_characters_are_aligned(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_output, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    _output.table(("name", ">n"), [("日本", "1"), ("abcdef", "22")])
    lines = click.unstyle(capsys.readouterr().out).splitlines()
    assert lines[2:] == ["日本     1", "abcdef  22"]


def test_text_of_others_does_not_reach_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    evil = "\x1b]0;PWNED\x07\x1b[2J\r\u202e"
    _output.table(("name", "~why"), [(evil, f"a\n{evil}")])
    _output.note(evil)
    _output.warn(evil)
    _output.echo(evil)
    _output.print_error(errors.ConfigurationError(evil, hint=evil))
    _output.print_unexpected(ValueError(evil))
    out, err = capsys.readouterr()
    assert "PWNED" in out and "PWNED" in err
    assert not set("\x1b\x07\r\u202e") & set(click.unstyle(out + err))


def test_everything_for_people_is_printed_by_one_function() -> None:
    cli = Path(_output.__file__).parent
    allowed = (
        "_json(",
        "json.dumps",
        "canonical_json",
        "click.echo(data",
        "K{what}",
        'K"',
        "api_key",
    )
    direct = [
        f"{file.name}: {line.strip()}"
        for file in sorted(cli.glob("*.py"))
        if file.name not in ("_output.py", "completion.py")
        for line in file.read_text().splitlines()
        if re.search(r"click\.s?echo\(|\bprint\(", line)
        and "self._console.print(" not in line
        and not any(text in line for text in allowed)
    ]
    assert direct == []


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
    flags = {
        name
        for command in (run, rerun)
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--")
    }
    spoken = re.compile(rf"(?<![-\w])(?:{'|'.join(sorted(flags))})(?![-\w])")
    found = [
        f"{path.name}: {node.value}"
        for path in Path(controlplane.__file__).parent.rglob("*.py")
        if path.name != "standing.py"  # remedies are whole commands, for `servo why`
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
        if spoken.search(node.value)
    ]
    assert {"--upstream", "--all-partitions", "--all"} <= flags
    assert found == []
