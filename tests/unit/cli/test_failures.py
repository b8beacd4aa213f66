"""How failed attempts are shown: what of their log, and how many of them."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.cli import _failures
from servo.cli._failures import Detail
from servo.types import AssetKey, FailureCategory
from servo.types.records import Failure
from servo.worker.tracebacks import format_error, locate

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def logged(project: Path, source: str, name: str = "assets/a.py") -> list[str]:
    """Return what a worker writes into the log for the error that code of a project raises."""
    namespace: dict[str, Any] = {}
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    exec(compile(source, str(path), "exec"), namespace)
    try:
        namespace["f"]()
    except BaseException as exc:
        frames = exc.__traceback__
        # The frame of this test stands for what calls the function.
        error = exc.with_traceback(frames.tb_next if frames is not None else None)
        place = locate(error, project)
        return [*format_error(error, project).splitlines(), *([str(place)] if place else [])]
    raise AssertionError("nothing was raised")


def test_an_excerpt_has_the_place_and_the_end_of_the_traceback(tmp_path: Path) -> None:
    lines = logged(tmp_path, "def g():\n    1 / 0\ndef f():\n    g()\n")
    found = _failures.excerpt_of(["what the function logged itself", *lines])
    assert found.place == "assets/a.py:2, in g"
    assert found.lines[0] == '  File "assets/a.py", line 4, in f'
    assert found.lines[-1] == "ZeroDivisionError: division by zero"
    assert "what the function logged itself" not in found.lines


def test_frames_of_libraries_are_left_out(tmp_path: Path) -> None:
    lines = logged(tmp_path, "import json\ndef f():\n    json.loads('{')\n")
    found = _failures.excerpt_of(lines)
    assert found.place == "assets/a.py:3, in f"
    assert not any("json/" in line or "raw_decode" in line for line in found.lines)
    assert found.lines[-1].startswith("json.decoder.JSONDecodeError: ")


def test_causes_and_groups_stay_readable(tmp_path: Path) -> None:
    chained = (
        "def f():\n    try:\n        {}['k']\n"
        "    except KeyError as exc:\n        raise OSError('o') from exc\n"
    )
    found = _failures.excerpt_of(logged(tmp_path, chained))
    assert "KeyError: 'k'" in found.lines
    assert found.lines[-1] == "OSError: o"
    grouped = "def f():\n    raise ExceptionGroup('g', [ValueError('v')])\n"
    found = _failures.excerpt_of(logged(tmp_path, grouped))
    assert found.place == "assets/a.py:2, in f"
    assert any("ValueError: v" in line for line in found.lines)


def test_code_that_cannot_be_parsed_is_shown_with_its_line(tmp_path: Path) -> None:
    broken = tmp_path / "helper.py"
    lines = logged(tmp_path, f"def f():\n    compile('x = = 1', {str(broken)!r}, 'exec')\n")
    found = _failures.excerpt_of(lines)
    assert found.place == "helper.py:1"
    assert "    x = = 1" in found.lines


def test_a_failure_without_a_traceback_has_no_excerpt() -> None:
    message = "its process was killed by signal 9 (SIGKILL)"
    assert _failures.excerpt_of([message]) == _failures.Excerpt()
    assert _failures.excerpt_of([]) == _failures.Excerpt()
    assert _failures.excerpt_of(["at noon it rained"]) == _failures.Excerpt()


@given(st.lists(st.text(max_size=400), max_size=400))
def test_an_excerpt_is_short_whatever_is_in_the_log(lines: list[str]) -> None:
    head = "Traceback (most recent call last):"
    found = _failures.excerpt_of([head, *(line.replace("\n", " ") for line in lines)])
    assert len(found.lines) <= 15
    assert all(len(line) < 220 for line in found.lines)


def test_the_message_is_not_repeated_below_itself() -> None:
    excerpt = _failures.Excerpt("a.py:1, in f", ("  File ...", "ValueError: x"))
    shown = [click.unstyle(line) for line in _failures.lines_of(excerpt, "ValueError: x")]
    assert shown == ["    at a.py:1, in f", "      File ..."]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (41.6, "42 s"), (60, "1 min"), (125, "2 min 5 s"), (3 * 3600 + 60, "3 h 1 min")],
)
def test_lengths_are_in_whole_seconds(seconds: float, text: str) -> None:
    assert _failures.length(timedelta(seconds=seconds)) == text


def test_the_next_attempt_has_a_delay_and_a_time_of_day() -> None:
    local = NOON.astimezone()
    later = NOON + timedelta(seconds=42)
    text = _failures.next_attempt(later, now=NOON)
    assert text == f"in 42 s, at {later.astimezone():%H:%M:%S}"
    assert _failures.next_attempt(NOON, now=NOON) == "now"
    tomorrow = NOON + timedelta(days=1)
    assert f"at {tomorrow.astimezone():%Y-%m-%d} " in _failures.next_attempt(tomorrow, now=NOON)
    assert local.tzinfo is not None


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
def test_a_printed_command_is_read_back_by_a_shell(project: str) -> None:
    root = click.Context(click.Command("servo"))
    root.params["project"] = project
    with root:
        words = shlex.split(_failures.command("cancel", "01ABC"))
    assert words == ["servo", "--project", project, "cancel", "01ABC"]


def failure(number: int) -> Failure:
    return Failure(
        category=FailureCategory.USER_CODE,
        message=f"OSError: no file for day {number} of 'orders-{number}'",
        error_type="OSError",
    )


def test_of_a_thousand_failures_alike_one_is_explained_and_most_are_counted() -> None:
    digest, key = _failures.Digest(), AssetKey("raw", "a")
    details = Counter(digest.detail(key, failure(index), index) for index in range(1000))
    assert details == {Detail.EXPLAINED: 1, Detail.LINE: 4, Detail.COUNTED: 995}
    # Attempts that fail again belong to tasks that were named or counted.
    assert digest.detail(key, failure(0), 0) is Detail.LINE
    assert digest.detail(key, failure(999), 999) is Detail.COUNTED
    (line,) = digest.counts(only_new=True)
    assert "the same error in 995 more tasks: OSError: no file for day 0" in click.unstyle(line)
    assert list(digest.counts(only_new=True)) == []
    assert len(list(digest.counts())) == 1


def test_the_first_of_each_kind_says_where_it_happened() -> None:
    digest = _failures.Digest()
    details = [digest.detail(AssetKey("raw", f"a{n}"), failure(n), n) for n in range(30)]
    assert details == [Detail.EXPLAINED] * 3 + [Detail.PLACED] * 20 + [Detail.COUNTED] * 7


@given(st.lists(st.tuples(st.integers(0, 300), st.text("abc", max_size=5)), max_size=500))
def test_what_is_printed_of_failures_is_bounded(found: list[tuple[int, str]]) -> None:
    digest, key = _failures.Digest(), AssetKey("raw", "a")
    details: Counter[Detail] = Counter()
    for index, text in found:
        one = Failure(category=FailureCategory.USER_CODE, message=text, error_type=text)
        details[digest.detail(key, one, index)] += 1
    assert details[Detail.EXPLAINED] <= 3
    assert details[Detail.PLACED] + details[Detail.LINE] <= 20
    assert len(list(digest.counts())) <= 100
    assert sum(details.values()) == len(found)
