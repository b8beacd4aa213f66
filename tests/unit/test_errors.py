"""The error tree and what each error means at a border."""

from __future__ import annotations

import pickle

import pytest

from servo import errors
from servo.errors import CATEGORY_RULES, ErrorCategory, ServoError


def every_error() -> list[type[ServoError]]:
    found = [ServoError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return [cls for cls in found if cls.__module__ == errors.__name__]


# What the contract's table says, written down once more on purpose.
CONTRACT = {
    "validation": ("INVALID_ARGUMENT", 400, 2, False),
    "network": ("UNAVAILABLE", 503, 69, True),
    "filesystem": ("INTERNAL", 500, 74, False),
    "configuration": ("FAILED_PRECONDITION", 500, 78, False),
    "cache": ("ABORTED", 503, 70, True),
    "timeout": ("DEADLINE_EXCEEDED", 504, 75, True),
    "permission": ("PERMISSION_DENIED", 403, 77, False),
    "unknown": ("UNKNOWN", 500, 70, False),
}


def test_every_category_has_the_rule_of_the_contract() -> None:
    assert {str(name): tuple(rule) for name, rule in CATEGORY_RULES.items()} == CONTRACT


@pytest.mark.parametrize("cls", every_error())
def test_every_error_is_exported_and_drawn_in_the_tree(cls: type[ServoError]) -> None:
    assert cls.__name__ in errors.__all__
    assert errors.__doc__ is not None
    assert cls.__name__ in errors.__doc__


@pytest.mark.parametrize("cls", every_error())
def test_an_error_survives_pickling_with_its_facts(cls: type[ServoError]) -> None:
    error = cls("boom", code="ODD", context={"run": 7}, hint="try again")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert (str(copy), copy.code, copy.context, copy.hint) == (
        "boom. try again",
        "ODD",
        {"run": "7"},
        "try again",
    )


@pytest.mark.parametrize("cls", every_error())
def test_an_error_has_the_exit_code_of_its_category(cls: type[ServoError]) -> None:
    assert cls("x").exit_code == CATEGORY_RULES[cls.category].exit_code


@pytest.mark.parametrize("cls", every_error())
def test_an_error_is_found_again_from_what_crosses_a_border(cls: type[ServoError]) -> None:
    error = cls("x")
    found = errors.error_type(error.category, code=error.code, grpc_code=error.grpc_code)
    assert found is cls


@pytest.mark.parametrize(
    ("cls", "grpc_code", "http_status"),
    [
        (errors.NotFoundError, "NOT_FOUND", 404),
        (errors.ConflictError, "ALREADY_EXISTS", 409),
        (errors.PermissionDeniedError, "PERMISSION_DENIED", 403),
        (errors.UnauthenticatedError, "UNAUTHENTICATED", 401),
        (errors.UnavailableError, "UNAVAILABLE", 503),
    ],
)
def test_precise_errors_answer_with_their_own_status(
    cls: type[ServoError], grpc_code: str, http_status: int
) -> None:
    assert (cls("x").grpc_code, cls("x").http_status) == (grpc_code, http_status)


def test_an_unknown_code_with_a_known_status_finds_the_class_of_the_status() -> None:
    found = errors.error_type(ErrorCategory.VALIDATION, code="NEW", grpc_code="NOT_FOUND")
    assert found is errors.NotFoundError


def test_a_code_of_another_category_does_not_change_the_category() -> None:
    found = errors.error_type(ErrorCategory.NETWORK, code="NOT_FOUND", grpc_code="NOT_FOUND")
    assert found is errors.UnavailableError


def test_only_a_network_or_cache_or_timeout_error_can_be_retried() -> None:
    retried = {cls.category for cls in every_error() if cls("x").retryable}
    assert retried == {ErrorCategory.NETWORK, ErrorCategory.CACHE, ErrorCategory.TIMEOUT}


def test_a_definition_error_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="twice"):
        raise errors.DefinitionError("defined twice")


def raise_chain(length: int) -> ServoError:
    error: Exception = ValueError("root")
    for number in range(length):
        try:
            raise ServoError(str(number)) from error
        except ServoError as raised:
            error = raised
    assert isinstance(error, ServoError)
    return error


def test_causes_are_listed_nearest_first() -> None:
    assert [str(cause) for cause in errors.cause_chain(raise_chain(3))] == ["1", "0", "root"]


def test_at_most_ten_causes_are_listed() -> None:
    assert len(errors.cause_chain(raise_chain(30))) == 10


def test_a_cycle_of_causes_ends() -> None:
    first, second = ServoError("first"), ServoError("second")
    first.__cause__, second.__cause__ = second, first
    assert errors.cause_chain(first) == (second,)


def test_a_context_that_was_suppressed_is_no_cause() -> None:
    error = ServoError("x")
    error.__context__ = ValueError("hidden")
    error.__suppress_context__ = True
    assert errors.cause_chain(error) == ()


def test_a_context_that_was_not_suppressed_is_a_cause() -> None:
    error = ServoError("x")
    error.__context__ = cause = ValueError("shown")
    assert errors.cause_chain(error) == (cause,)
