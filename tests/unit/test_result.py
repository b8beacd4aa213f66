"""``Ok`` and ``Err``."""

from __future__ import annotations

import pytest

from servo.result import Err, Ok, Result


def divide(a: int, b: int) -> Result[int, ZeroDivisionError]:
    try:
        return Ok(a // b)
    except ZeroDivisionError as exc:
        return Err(exc)


def test_ok_tells_what_it_is() -> None:
    assert Ok(1).is_ok()
    assert not Ok(1).is_err()


def test_err_tells_what_it_is() -> None:
    assert Err("x").is_err()
    assert not Err("x").is_ok()


def test_map_changes_a_value_and_leaves_an_error() -> None:
    assert divide(6, 3).map(str) == Ok("2")
    assert isinstance(divide(6, 0).map(str), Err)


def test_map_err_changes_an_error_and_leaves_a_value() -> None:
    assert Err(2).map_err(str) == Err("2")
    assert Ok(2).map_err(str) == Ok(2)


def test_unwrap_returns_the_value() -> None:
    assert divide(6, 3).unwrap() == 2


def test_unwrap_raises_the_original_error() -> None:
    failed = divide(6, 0)
    assert isinstance(failed, Err)
    with pytest.raises(ZeroDivisionError) as caught:
        failed.unwrap()
    assert caught.value is failed.error


def test_unwrap_of_an_error_that_is_no_exception_shows_it() -> None:
    with pytest.raises(ValueError, match="'no such run'"):
        Err("no such run").unwrap()


def test_unwrap_or_prefers_the_value() -> None:
    assert divide(6, 3).unwrap_or(0) == 2
    assert divide(6, 0).unwrap_or(0) == 0


def test_results_match_by_pattern() -> None:
    match divide(6, 3):
        case Ok(value):
            assert value == 2
        case Err(error):
            pytest.fail(f"{error!r}")
