from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.types.runs import FailureCategory
from servo.worker.failures import ReturnedError, failure_of
from servo.worker.tracebacks import Location, format_error, locate, one_line, relative_to

C = FailureCategory


@pytest.mark.parametrize(
    ("error", "category", "reason", "retryable"),
    [
        (ValueError("x"), C.USER_CODE, "exception", True),
        (KeyboardInterrupt(), C.USER_CODE, "exception", True),
        (SystemExit(0), C.USER_CODE, "exit", True),
        (ReturnedError("no"), C.USER_CODE, "exception", True),
        (MemoryError(), C.INFRASTRUCTURE, "oom", True),
        (errors.ServoError("x"), C.USER_CODE, "exception", True),
        (errors.DataQualityError("x"), C.DATA_QUALITY, "check", False),
        (errors.BudgetExhaustedError("x"), C.CONFIGURATION, "budget", False),
        (errors.LeaseExpiredError("x"), C.INFRASTRUCTURE, "lease_lost", True),
        (errors.FilesystemError("x", code="DISK_FULL"), C.INFRASTRUCTURE, "exception", True),
        (errors.FilesystemError("x", code="DATA_MISSING"), C.INFRASTRUCTURE, "exception", False),
        (errors.ConfigurationError("x"), C.CONFIGURATION, "configuration", False),
        (
            errors.InvalidArgumentError("x", code="INPUT_SCHEMA"),
            C.CONFIGURATION,
            "configuration",
            False,
        ),
        (errors.InvalidArgumentError("x", code="INVALID_OUTPUT"), C.USER_CODE, "exception", False),
        (ModuleNotFoundError("x"), C.USER_CODE, "exception", False),
        (IndentationError("x"), C.USER_CODE, "exception", False),
        (NameError("x"), C.USER_CODE, "exception", False),
        (UnboundLocalError("x"), C.USER_CODE, "exception", True),
        (NotImplementedError("x"), C.USER_CODE, "exception", False),
        (AttributeError("x"), C.USER_CODE, "exception", True),
        (KeyError("x"), C.USER_CODE, "exception", True),
        (TypeError("f() missing 1 argument"), C.USER_CODE, "exception", True),
        (ExceptionGroup("x", [ValueError("x"), OSError()]), C.USER_CODE, "exception", True),
        (
            ExceptionGroup("x", [ValueError("x"), ExceptionGroup("y", [NameError("z")])]),
            C.USER_CODE,
            "exception",
            False,
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_has_a_category_a_reason_and_a_verdict_on_retrying(
    error: BaseException, category: FailureCategory, reason: str, retryable: bool
) -> None:
    failure = failure_of(error)
    assert (failure.category, failure.reason) == (category, reason)
    assert failure.is_retryable is retryable


def test_a_message_is_one_line_with_the_class() -> None:
    failure = failure_of(ValueError("first\nsecond"))
    assert (failure.message, failure.error_type) == ("ValueError: first", "ValueError")


def test_an_exit_shows_its_code() -> None:
    assert "sys.exit(0)" in failure_of(SystemExit(0)).message


def test_text_that_is_not_unicode_can_be_sent() -> None:
    failure_of(ValueError("\udc80")).message.encode()
    failure_of(SystemExit("\udc80")).message.encode()
    failure_of(errors.ServoError("\udc80")).message.encode()


def test_an_error_that_cannot_be_printed_is_named() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert one_line(Broken()).endswith("Broken: (its message cannot be printed)")


def test_frames_of_servo_are_hidden_in_every_cause() -> None:
    from servo.types.keys import AssetKey

    def inner() -> None:
        AssetKey.parse("A.B.C")

    with pytest.raises(RuntimeError) as caught:
        try:
            inner()
        except ValueError as exc:
            raise RuntimeError("outer") from exc
    text = format_error(caught.value)
    assert "in inner" in text
    assert "direct cause" in text
    assert "servo/types/keys.py" not in text


def test_a_long_chain_of_causes_is_printed_without_recursion() -> None:
    error: Exception = ValueError("0")
    for number in range(1, 300):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    assert format_error(error).startswith("ValueError: 0")


def test_an_error_that_no_retry_cures_says_so() -> None:
    failure = failure_of(NameError("name 'pd' is not defined"))
    assert failure.message == (
        "NameError: name 'pd' is not defined (not retried: only a change of the code cures this)"
    )
    assert "not retried" not in failure_of(ValueError("x")).message


def test_a_long_message_is_cut_and_marked() -> None:
    line = one_line(ValueError("x" * 100_000))
    assert len(line) < 600
    assert line.endswith("... [cut]")


def test_an_error_whose_text_ends_the_process_is_named() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise SystemExit(3)

    assert one_line(Broken()).endswith("Broken: (its message cannot be printed)")
    assert "Broken" in format_error(Broken())


def _raised(function: Callable[..., Any], *arguments: object) -> BaseException:
    try:
        function(*arguments)
    except BaseException as exc:
        return exc
    raise AssertionError("nothing was raised")


def asset_like(ctx: object) -> None:
    """Take one argument."""
    raise TypeError("asset_like() is what it is about, and it was called all the same")


def passing_on(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*arguments: Any, **named: Any) -> Any:
        return function(*arguments, **named)

    return wrapper


@pytest.mark.parametrize("function", [asset_like, passing_on(passing_on(asset_like))])
def test_a_call_that_the_function_does_not_take_is_not_retried(
    function: Callable[..., Any],
) -> None:
    assert failure_of(_raised(function), function).retryable is False
    assert failure_of(_raised(function, 1, 2), function).retryable is False
    assert failure_of(_raised(function, 1), function).retryable is None


def test_a_wrong_call_within_the_function_is_retried() -> None:
    def outer(ctx: object) -> None:
        asset_like()  # type: ignore[call-arg]  # the point of the test

    assert failure_of(_raised(outer, 1), outer).retryable is None


HERE = Path(__file__).parent


def test_the_place_is_the_deepest_line_of_the_project(tmp_path: Path) -> None:
    installed = tmp_path / ".venv/lib/site-packages/lib.py"
    mine = tmp_path / "assets/mine.py"
    namespace: dict[str, Any] = {}
    exec(compile("def lib():\n    1 / 0\n", str(installed), "exec"), namespace)
    exec(compile("def helper():\n    lib()\n", str(tmp_path / "helper.py"), "exec"), namespace)
    exec(compile("def mine():\n\n    helper()\n", str(mine), "exec"), namespace)
    error = _raised(namespace["mine"])
    assert locate(error, tmp_path) == Location("helper.py", 2, "helper")
    assert str(locate(error, tmp_path)) == "at helper.py:2, in helper"
    assert locate(error, tmp_path / "assets") == Location("mine.py", 3, "mine")
    assert locate(error, tmp_path / "other") is None
    text = format_error(error, tmp_path)
    assert 'File "helper.py", line 2, in helper' in text
    assert f'File "{installed}", line 2, in lib' in text


def test_a_project_that_is_reached_through_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    namespace: dict[str, Any] = {}
    exec(compile("def f():\n    1 / 0\n", str(tmp_path / "real/a.py"), "exec"), namespace)
    assert locate(_raised(namespace["f"]), tmp_path / "link") == Location("a.py", 2, "f")


def test_the_place_of_code_that_cannot_be_parsed_is_the_line_that_is_wrong(tmp_path: Path) -> None:
    error = _raised(compile, "x = 1\ny = = 2\n", str(tmp_path / "a.py"), "exec")
    assert locate(error, tmp_path) == Location("a.py", 2, "")
    text = format_error(error, tmp_path)
    assert 'File "a.py", line 2' in text
    assert "    y = = 2\n        ^" in text


def test_the_place_of_a_group_is_that_of_its_first_error() -> None:
    async def first() -> None:
        raise ValueError("1")

    async def second() -> None:
        raise ValueError("2")

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(first())
            group.create_task(second())

    error = _raised(lambda: asyncio.run(both()))
    assert isinstance(error, ExceptionGroup)
    found = locate(error, HERE)
    assert found is not None
    assert found.function == "first"


def test_the_place_of_an_error_with_a_cause_is_where_it_was_raised_itself() -> None:
    def cause() -> None:
        raise KeyError("k")

    def outer() -> None:
        try:
            cause()
        except KeyError as exc:
            raise RuntimeError("outer") from exc

    found = locate(_raised(outer), HERE)
    assert found is not None
    assert found.function == "outer"


class Peculiar(Exception):
    """An error whose parts can be anything."""

    def __init__(self, text: object) -> None:
        super().__init__()
        self.text = text

    def __str__(self) -> str:
        if isinstance(self.text, BaseException):
            raise self.text
        return self.text  # type: ignore[return-value]  # Python refuses what is no text


@given(st.text() | st.integers() | st.just("\udc80") | st.sampled_from([KeyError(), SystemExit(1)]))
def test_whatever_an_error_says_it_becomes_text_that_can_be_sent(said: object) -> None:
    error = ExceptionGroup("several", [Peculiar(said), ExceptionGroup("more", [Peculiar(said)])])
    for one in (Peculiar(said), error):
        failure = failure_of(one)
        failure.message.encode()
        format_error(one, HERE).encode()
        assert "\n" not in failure.message


@pytest.mark.parametrize("path", ["", "<stdin>", "<frozen importlib._bootstrap>"])
def test_what_is_no_file_is_none_of_the_project(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "<stdin>").touch()
    monkeypatch.chdir(tmp_path)
    assert relative_to(tmp_path, path) == ""
