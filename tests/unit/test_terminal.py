from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import _terminal

SGR = re.compile(r"\x1b\[[0-9;:]*m")
MOVES = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
HOSTILE = [
    "\x1b]0;PWNED\x07",
    "\x1b[2J",
    "\x1b[31m",
    "\x1b[0m",
    "\x1b[8m",
    "\x1b[38;5;8m",
    "\x1b[1;08mx",
    "\x1b",
    "\x9b31m",
    "\r",
    "\r\n",
    "\x08",
    "\x7f",
    "\u202e",
    "\u2066",
    "\ud800",
    "\x00",
    "\t",
    "\n",
    "é☃",
]


def texts() -> st.SearchStrategy[str]:
    return st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=5)), max_size=8).map(
        "".join
    )


@given(texts(), st.booleans(), st.booleans())
def test_nothing_that_is_printed_moves_the_terminal(text: str, colors: bool, lines: bool) -> None:
    shown = _terminal.escaped(text, colors=colors, lines=lines)
    without_colors = SGR.sub("", shown) if colors else shown
    assert not MOVES.search(without_colors)
    assert lines or "\n" not in shown
    shown.encode()  # half of a surrogate pair could not be printed


@given(texts())
def test_no_color_goes_on_after_its_line(text: str) -> None:
    for line in _terminal.escaped(text, colors=True).split("\n"):
        found = SGR.findall(line)
        assert not found or found[-1] in ("\x1b[0m", "\x1b[m")


@given(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cf"]), max_size=30))
def test_text_without_control_characters_is_printed_as_it_is(text: str) -> None:
    assert _terminal.escaped(text, colors=True) == text
    assert _terminal.escaped(text, lines=False) == text


@given(texts(), st.booleans())
def test_escaping_what_is_escaped_changes_nothing(text: str, colors: bool) -> None:
    once = _terminal.escaped(text, colors=colors)
    assert _terminal.escaped(once, colors=colors) == once


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("hi\x1b]0;PWNED\x07", "hi\\x1b]0;PWNED\\x07"),
        ("a\rb", "a\\x0db"),
        ("a\r\nb", "a\nb"),
        ("done\r", "done"),
        ("\u202eevil", "\\u202eevil"),
        ("a\tb\nc", "a\tb\nc"),
        ("\x1b[31mred", "\\x1b[31mred"),
    ],
)
def test_control_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert _terminal.escaped(text) == shown


def test_colors_may_stay_and_hidden_text_may_not() -> None:
    assert _terminal.escaped("\x1b[31mred", colors=True) == "\x1b[31mred\x1b[0m"
    assert _terminal.escaped("\x1b[1mx\x1b[0m", colors=True) == "\x1b[1mx\x1b[0m"
    assert _terminal.escaped("\x1b[8mx", colors=True) == "\\x1b[8mx"
    assert _terminal.escaped("\x1b[1;8mx", colors=True) == "\\x1b[1;8mx"
    gray = "\x1b[38;5;8mx\x1b[0m"
    assert _terminal.escaped(gray, colors=True) == gray


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("日本", 4), ("e\u0301", 1), ("🎉", 2), ("\x1b[31mred\x1b[0m", 3), ("", 0)],
)
def test_width_is_that_of_a_terminal(text: str, columns: int) -> None:
    assert _terminal.width(text) == columns


@given(texts().map(_terminal.escaped), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_nothing(text: str, columns: int) -> None:
    lines = _terminal.wrapped(text, columns)
    assert all(_terminal.width(line) <= columns for line in lines)
    assert re.sub(r"[ \n]", "", "".join(lines)) == re.sub(r"[ \n]", "", text)


def test_text_is_wrapped_between_words() -> None:
    assert _terminal.wrapped("the quick brown fox", 10) == ["the quick", "brown fox"]
    assert _terminal.wrapped("a\nverylongword b", 6) == ["a", "verylo", "ngword", "b"]
