"""What log_level and log_format do."""

from __future__ import annotations

import contextlib
import io
import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from servo import errors
from servo.config import Settings
from servo.config.logs import configure_logging, redacted

SECRET = "hunter2"


@pytest.fixture(autouse=True)
def _untouched_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("servo").setLevel(logging.NOTSET)


def logged(settings: Settings) -> io.StringIO:
    stream = io.StringIO()
    configure_logging(settings, stream=stream)
    return stream


def test_a_line_of_json_says_when_who_what_and_for_which_request() -> None:
    stream = logged(Settings(log_format="json"))
    logging.getLogger("servo.client").warning("slow: %s s\nvery", 3, extra={"request_id": "01HZ"})
    (line,) = stream.getvalue().splitlines()
    document = json.loads(line)
    assert datetime.fromisoformat(document.pop("time")).tzinfo is not None
    assert document == {
        "level": "warning",
        "logger": "servo.client",
        "message": "slow: 3 s\nvery",
        "request_id": "01HZ",
    }


def test_an_error_of_a_call_brings_its_request_id_along() -> None:
    stream = logged(Settings(log_format="json"))
    error = errors.UnavailableError("gone")
    error.request_id = "01HZ"
    try:
        raise error
    except errors.UnavailableError:
        logging.getLogger("servo").exception("failed")
    document = json.loads(stream.getvalue())
    assert document["request_id"] == "01HZ"
    assert "UnavailableError: gone" in document["exception"]


def test_a_line_for_people_ends_with_the_request() -> None:
    stream = logged(Settings())
    logging.getLogger("servo").info("called", extra={"request_id": "01HZ"})
    assert stream.getvalue().endswith(" INFO servo called [01HZ]\n")


@pytest.mark.parametrize(
    ("settings", "default", "expected"),
    [
        (Settings(), "info", ["info", "error"]),
        (Settings(), "warning", ["error"]),
        (Settings(log_level="debug"), "warning", ["debug", "info", "error"]),
        (Settings(log_level="error"), "info", ["error"]),
    ],
)
def test_the_level_is_that_of_the_settings_or_of_the_process(
    settings: Settings, default: str, expected: list[str]
) -> None:
    stream = io.StringIO()
    configure_logging(settings, stream=stream, default_level=default)
    for level in ("debug", "info", "error"):
        getattr(logging.getLogger("servo"), level)(level)
    assert [line.split()[-1] for line in stream.getvalue().splitlines()] == expected


def test_debugging_servo_is_not_debugging_the_libraries_below_it() -> None:
    stream = logged(Settings(log_level="debug"))
    logging.getLogger("grpc").debug("poll")
    logging.getLogger("servo.client").debug("called")
    assert "called" in stream.getvalue()
    assert "poll" not in stream.getvalue()


def test_configuring_again_replaces_and_leaves_the_handlers_of_others() -> None:
    others = logging.NullHandler()
    logging.getLogger().addHandler(others)
    first, second = logged(Settings()), logged(Settings())
    logging.getLogger("servo").error("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1
    assert others in logging.getLogger().handlers


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_key_is_never_logged(log_format: str) -> None:
    stream = logged(Settings(log_format=log_format, api_key=SECRET))
    try:
        raise ValueError(f"header 'Bearer {SECRET}'")
    except ValueError:
        logging.getLogger("servo").exception("sent key=%s, Authorization: Bearer abc.DEF-1", SECRET)
    assert SECRET not in stream.getvalue()
    assert "abc.DEF-1" not in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("authorization: Bearer sk_1~a/b+c==", "authorization: Bearer ********"),
        ("bearer abc, next", "bearer ********, next"),
        ("the bearer of news", "the bearer ******** news"),
        ("nothing", "nothing"),
    ],
)
def test_a_bearer_token_is_masked(text: str, expected: str) -> None:
    assert redacted(text, ()) == expected


def test_lines_follow_standard_error_where_it_is_redirected(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(Settings())
    with contextlib.redirect_stderr(io.StringIO()) as stream:
        logging.getLogger("servo").error("elsewhere")
    logging.getLogger("servo").error("here")
    assert "elsewhere" in stream.getvalue()
    assert "servo here" not in stream.getvalue()
    assert capsys.readouterr().err.endswith("ERROR servo here\n")
