"""``Ok`` and ``Err``."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.result import Err, Ok, Result, attempt, collect


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


values = st.none() | st.integers() | st.text()
results: st.SearchStrategy[Result[Any, Any]] = st.one_of(
    values.map(Ok), st.just(Ok(None)), values.map(Err), st.just(Err(ValueError("x")))
)
functions = st.sampled_from([repr, type, lambda value: None, lambda value: (value, value)])
steps: st.SearchStrategy[Callable[[Any], Result[Any, Any]]] = st.sampled_from(
    [
        Ok,
        Err,
        lambda value: Ok(None),
        lambda value: Ok((value,)),
        lambda value: Err("odd") if value is None else Ok(value),
    ]
)


@given(results)
def test_functor_identity(result: Result[Any, Any]) -> None:
    assert result.map(lambda value: value) == result
    assert result.map_err(lambda error: error) == result


@given(results, functions, functions)
def test_functor_composition(
    result: Result[Any, Any], f: Callable[[Any], Any], g: Callable[[Any], Any]
) -> None:
    assert result.map(f).map(g) == result.map(lambda value: g(f(value)))
    assert result.map_err(f).map_err(g) == result.map_err(lambda error: g(f(error)))


@given(values, steps)
def test_monad_left_identity(value: object, f: Callable[[Any], Result[Any, Any]]) -> None:
    assert Ok(value).flat_map(f) == f(value)
    assert Err(value).or_else(f) == f(value)


@given(results)
def test_monad_right_identity(result: Result[Any, Any]) -> None:
    assert result.flat_map(Ok) == result
    assert result.or_else(Err) == result


@given(results, steps, steps)
def test_monad_associativity(
    result: Result[Any, Any],
    f: Callable[[Any], Result[Any, Any]],
    g: Callable[[Any], Result[Any, Any]],
) -> None:
    assert result.flat_map(f).flat_map(g) == result.flat_map(lambda value: f(value).flat_map(g))
    assert result.or_else(f).or_else(g) == result.or_else(lambda error: f(error).or_else(g))


@given(results, functions)
def test_map_is_flat_map_into_ok(result: Result[Any, Any], f: Callable[[Any], Any]) -> None:
    assert result.map(f) == result.flat_map(lambda value: Ok(f(value)))


@given(results)
def test_match_goes_to_exactly_one_arm(result: Result[Any, Any]) -> None:
    taken = result.match(ok=lambda value: ("ok", value), err=lambda error: ("err", error))
    assert taken == (("ok", result.value) if isinstance(result, Ok) else ("err", result.error))


def test_an_ok_that_holds_none_is_a_success() -> None:
    nothing: Result[None, str] = Ok(None)
    assert nothing.is_ok()
    assert nothing.unwrap() is None
    assert nothing.unwrap_or(7) is None
    assert nothing.map(lambda value: value is None) == Ok(True)


@pytest.mark.parametrize("call", ["map", "flat_map"])
def test_what_a_function_raises_passes_through_map(call: str) -> None:
    with pytest.raises(ZeroDivisionError):
        getattr(Ok(0), call)(lambda value: 1 // value)


@pytest.mark.parametrize("call", ["map_err", "or_else"])
def test_what_a_function_raises_passes_through_the_other_arm(call: str) -> None:
    with pytest.raises(ZeroDivisionError):
        getattr(Err(0), call)(lambda error: 1 // error)


def test_or_else_gives_another_answer_to_a_failure_only() -> None:
    assert divide(1, 0).or_else(lambda error: Ok(0)) == Ok(0)
    assert divide(6, 3).or_else(lambda error: Ok(0)) == Ok(2)


def test_attempt_returns_what_was_returned() -> None:
    assert attempt(lambda: 6 // 3) == Ok(2)
    assert attempt(lambda: None) == Ok(None)


def test_attempt_returns_the_error_itself_and_unwrap_raises_it_again() -> None:
    original = KeyError("gone")

    def fail() -> None:
        raise original

    failed = attempt(fail)
    assert failed == Err(original)
    with pytest.raises(KeyError) as caught:
        failed.unwrap()
    assert caught.value is original


def test_attempt_catches_only_what_it_is_asked_to() -> None:
    assert attempt(lambda: int("x"), catch=ValueError).is_err()
    with pytest.raises(ValueError, match="invalid literal"):
        attempt(lambda: int("x"), catch=(KeyError, OSError))


@pytest.mark.parametrize("signal", [KeyboardInterrupt, SystemExit])
def test_attempt_lets_an_interruption_pass(signal: type[BaseException]) -> None:
    def interrupt() -> None:
        raise signal

    with pytest.raises(signal):
        attempt(interrupt)


def test_attempt_refuses_a_coroutine_whose_errors_it_would_miss() -> None:
    async def later() -> int:
        return 1

    with pytest.raises(TypeError, match=r"later.*await it"):
        attempt(later)


@given(st.lists(values))
def test_collect_of_successes_is_the_success_of_all_values(items: list[object]) -> None:
    assert collect(map(Ok, items)) == Ok(tuple(items))


def test_collect_stops_at_the_first_error() -> None:
    pulled: list[int] = []

    def results() -> Iterator[Result[int, str]]:
        for number in range(5):
            pulled.append(number)
            yield Err(f"bad {number}") if number in (2, 3) else Ok(number)

    assert collect(results()) == Err("bad 2")
    assert pulled == [0, 1, 2]


@given(results)
def test_a_result_survives_pickling(result: Result[Any, Any]) -> None:
    copy = pickle.loads(pickle.dumps(result))
    assert type(copy) is type(result)
    assert repr(copy) == repr(result)
