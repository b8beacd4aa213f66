"""Globs mean what they mean in `fnmatch`, and take linear time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from fnmatch import fnmatchcase
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from servo.controlplane.globs import Glob

patterns = st.text(alphabet="ab-.]![*?^\\&~|c", max_size=12)
texts = st.text(alphabet="ab-.]![*?^\\&~|c\n", max_size=12)


@settings(max_examples=500)
@given(patterns, texts)
@example("[!]", "[!]")
@example("[]-a]", "]")
@example("[z-a]", "z")
@example("[!z-a]", "z")
@example("a-b[a-b-c]", "a-b-")
@example("a**b", "ab")
@example("", "")
@example("*", "")
@example("a*a", "a")
@example("[[]", "[")
@example("[^a]", "^")
def test_a_glob_means_what_it_means_in_fnmatch(pattern: str, text: str) -> None:
    assert Glob(pattern).matches(text) is fnmatchcase(text, pattern)


@given(st.lists(st.sampled_from(["*", "?", "a", "b", "[ab]", "[!a]"]), max_size=10), st.data())
def test_a_text_that_was_made_after_a_glob_matches_it(parts: list[str], data: Any) -> None:
    made = {"*": st.text(), "?": st.characters(), "[ab]": st.sampled_from("ab")}
    made["[!a]"] = st.characters(exclude_characters="a")
    text = "".join(data.draw(made[part]) if part in made else part for part in parts)
    assert Glob("".join(parts)).matches(text)


def steps(action: Callable[[], object]) -> int:
    """Count the lines of this package that an action executes."""
    count = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal count
        del argument
        count += event == "line" and "globs" in frame.f_code.co_filename
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        action()
    finally:
        sys.settrace(before)
    return count


@pytest.mark.parametrize("part", ["[", "[a]", "*", "?", "*?", "a*", "[!]", "]"])
def test_reading_a_glob_takes_steps_in_proportion_to_its_length(part: str) -> None:
    short, long = part * 500, part * 2_000
    assert steps(lambda: Glob(long)) <= 4.5 * steps(lambda: Glob(short)) + 100


@pytest.mark.parametrize(
    "pattern", ["*a" * 50 + "b", "*a?" * 30 + "b", "*[!b]*" * 20 + "b", "*?" * 99]
)
def test_matching_takes_steps_in_proportion_to_the_text(pattern: str) -> None:
    glob = Glob(pattern)
    short, long = "a" * 500, "a" * 2_000
    assert steps(lambda: glob.matches(long)) <= 4.5 * steps(lambda: glob.matches(short)) + 100
