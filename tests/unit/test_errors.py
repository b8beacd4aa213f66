"""The error tree and what each error means at a border."""

from __future__ import annotations

import concurrent.futures
import json
import multiprocessing
import pickle
import threading

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.errors import CATEGORY_RULES, GRPC_CODES, MAX_CAUSES, ErrorCategory, ServoError


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
    error = cls("boom", code="ODD", context={"run": 7}, hint="try again", retry_after=1.5)
    error.request_id, error.attempts = "01HZ", 3
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == "boom. try again"
    assert copy.__dict__ == error.__dict__
    assert (copy.code, copy.context, copy.attempts) == ("ODD", {"run": "7"}, 3)


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
        (errors.RateLimitedError, "RESOURCE_EXHAUSTED", 429),
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


class PickyError(Exception):
    """Pickles, and cannot be read again: like many a library's exception."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status} {reason}")


def fail_with_causes() -> None:
    try:
        try:
            raise PickyError(500, "down")
        except PickyError as error:
            raise KeyError("host") from error
    except KeyError as error:
        raise errors.NotFoundError("no run 'r'", context={"run": "r"}) from error


def test_causes_survive_pickling() -> None:
    with pytest.raises(errors.NotFoundError) as caught:
        fail_with_causes()
    copy = pickle.loads(pickle.dumps(caught.value))
    chain = errors.cause_chain(copy)
    assert [type(cause) for cause in chain] == [KeyError, ServoError]
    assert str(chain[1]) == "PickyError: 500 down"


def test_a_cause_that_holds_a_lock_does_not_keep_an_error_in_its_process() -> None:
    error = ServoError("x").with_cause(ValueError(threading.Lock()))
    assert str(pickle.loads(pickle.dumps(error)).__cause__).startswith("ValueError: ")


def test_an_error_crosses_a_process_boundary_with_its_causes() -> None:
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        error = pool.submit(_fail_in_a_process).exception(timeout=60)
    assert isinstance(error, errors.UnavailableError)
    assert error.retry_after == 2.0
    # The pool puts the remote traceback in between, as text.
    assert "OSError: no route" in str(error.__cause__)


def test_a_subclass_with_arguments_of_its_own_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(_BrokenRunError("r7")))
    assert type(copy) is _BrokenRunError
    assert (str(copy), copy.run) == ("run 'r7' is broken", "r7")


def _fail_in_a_process() -> None:
    raise errors.UnavailableError("gone", retry_after=2.0) from OSError("no route")


class _BrokenRunError(errors.ConflictError):
    def __init__(self, run: str) -> None:
        super().__init__(f"run {run!r} is broken")
        self.run = run


def test_facts_are_added_to_the_same_error_and_the_last_one_wins() -> None:
    error = ServoError("x", context={"run": 1, "task": 2})
    assert error.with_context(task=3, asset="raw.a") is error
    assert error.context == {"run": "1", "task": "3", "asset": "raw.a"}


def test_a_cause_is_set_as_raise_from_does() -> None:
    cause = ValueError("why")
    error = errors.CacheError("x").with_cause(cause)
    assert error.__cause__ is cause
    assert errors.cause_chain(error) == (cause,)


def test_a_cause_that_leads_back_is_left_out() -> None:
    outer, inner = ServoError("outer"), ServoError("inner")
    outer.with_cause(inner)
    inner.with_cause(outer)
    assert inner.__cause__ is None
    assert outer.with_cause(outer).__cause__ is inner


def test_a_long_chain_of_causes_is_cut_where_it_is_linked() -> None:
    error = ServoError("0")
    for number in range(1, 40):
        error = ServoError(str(number)).with_cause(error)
    chain = errors.cause_chain(error, limit=None)
    assert [str(cause) for cause in chain] == [str(n) for n in range(38, 38 - MAX_CAUSES, -1)]


errors_of_any_kind = st.builds(
    lambda cls, message, code, context, hint, pause, request, attempts, causes: _filled(
        cls(message, code=code or None, context=context, hint=hint, retry_after=pause),
        request,
        attempts,
        causes,
    ),
    st.sampled_from(every_error()),
    st.text(),
    st.sampled_from(["", "RUN_KEY_CONFLICT"]),
    st.dictionaries(st.text(), st.text(), max_size=4),
    st.text(max_size=20),
    st.none() | st.floats(min_value=0, max_value=3600),
    st.text(max_size=26),
    st.integers(min_value=0, max_value=5),
    st.lists(st.sampled_from([*every_error(), ValueError]), max_size=4),
)


def _filled(
    error: ServoError, request: str, attempts: int, causes: list[type[Exception]]
) -> ServoError:
    error.request_id, error.attempts = request, attempts
    outer: Exception = error
    for cls in causes:
        outer.__cause__ = cls("because")
        outer = outer.__cause__
    return error


@given(errors_of_any_kind)
def test_an_error_survives_as_a_dictionary_of_json(error: ServoError) -> None:
    document = error.to_dict()
    copy = ServoError.from_dict(json.loads(json.dumps(document)))
    assert copy.to_dict() == document
    assert copy.category is error.category


@pytest.mark.parametrize("cls", every_error())
def test_a_dictionary_becomes_the_class_that_wrote_it(cls: type[ServoError]) -> None:
    assert type(ServoError.from_dict(cls("x").to_dict())) is cls


@pytest.mark.parametrize("document", [{}, {"category": "quantum", "colour": "red"}])
def test_a_dictionary_of_another_version_is_read_as_far_as_it_is_known(
    document: dict[str, str],
) -> None:
    error = ServoError.from_dict(document)
    assert (type(error), error.code, error.message) == (ServoError, "UNKNOWN", "")


def test_the_text_of_a_foreign_cause_is_not_part_of_the_dictionary() -> None:
    error = ServoError("x").with_cause(ValueError("password=hunter2"))
    assert error.to_dict()["causes"] == [{"code": "EXCEPTION", "message": "ValueError"}]


@pytest.mark.parametrize("cls", every_error())
def test_what_an_error_becomes_at_a_border_is_known_there(cls: type[ServoError]) -> None:
    rule = cls.rule
    assert rule.grpc_code in GRPC_CODES
    assert 400 <= rule.http_status <= 599
    assert 1 < rule.exit_code < 128
    assert rule.retried is CATEGORY_RULES[cls.category].retried


@pytest.mark.parametrize("category", list(ErrorCategory))
def test_every_category_has_a_class_and_no_class_is_of_another_one(category: ErrorCategory) -> None:
    assert errors.error_type(category).category is category
    assert errors.error_type(category).rule == CATEGORY_RULES[category]


def test_the_codes_are_those_of_grpc() -> None:
    numbers = {name: code.number for name, code in GRPC_CODES.items()}
    assert numbers == {code.name: code.value[0] for code in grpc.StatusCode}


# Error codes of the Connect protocol with their HTTP status, as its specification lists them.
CONNECT = {
    "canceled": 499,
    "unknown": 500,
    "invalid_argument": 400,
    "deadline_exceeded": 504,
    "not_found": 404,
    "already_exists": 409,
    "permission_denied": 403,
    "resource_exhausted": 429,
    "failed_precondition": 400,
    "aborted": 409,
    "out_of_range": 400,
    "unimplemented": 501,
    "internal": 500,
    "unavailable": 503,
    "data_loss": 500,
    "unauthenticated": 401,
}


def test_every_code_but_ok_has_the_name_and_the_status_of_connect() -> None:
    ours = {code.connect_name: code.connect_status for code in GRPC_CODES.values()}
    assert ours == CONNECT | {"": 200}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("INVALID_ARGUMENT", errors.InvalidArgumentError),
        ("DEADLINE_EXCEEDED", errors.DeadlineError),
        ("NOT_FOUND", errors.NotFoundError),
        ("ALREADY_EXISTS", errors.ConflictError),
        ("PERMISSION_DENIED", errors.PermissionDeniedError),
        ("UNAUTHENTICATED", errors.UnauthenticatedError),
        ("RESOURCE_EXHAUSTED", errors.InvalidArgumentError),
        ("FAILED_PRECONDITION", errors.ConfigurationError),
        ("UNIMPLEMENTED", errors.ConfigurationError),
        ("ABORTED", errors.CacheError),
        ("UNAVAILABLE", errors.UnavailableError),
        ("CANCELLED", ServoError),
        ("NO_SUCH_CODE", ServoError),
    ],
)
def test_a_bare_status_has_the_class_of_its_code(name: str, expected: type[ServoError]) -> None:
    assert errors.error_class_for_grpc(name) is expected


@pytest.mark.parametrize("name", list(GRPC_CODES))
def test_every_status_code_has_a_class_of_its_category(name: str) -> None:
    assert errors.error_class_for_grpc(name).category is GRPC_CODES[name].category


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, errors.ConfigurationError),
        (302, errors.ConfigurationError),
        (400, errors.InvalidArgumentError),
        (401, errors.UnauthenticatedError),
        (403, errors.PermissionDeniedError),
        (404, errors.ConfigurationError),
        (408, errors.DeadlineError),
        (409, errors.ConflictError),
        (418, errors.InvalidArgumentError),
        (429, errors.RateLimitedError),
        (499, ServoError),
        (500, ServoError),
        (501, errors.ConfigurationError),
        (502, errors.UnavailableError),
        (503, errors.UnavailableError),
        (504, errors.DeadlineError),
        (599, ServoError),
    ],
)
def test_a_bare_http_status_has_a_class(status: int, expected: type[ServoError]) -> None:
    assert errors.error_class_for_http(status) is expected


def test_every_http_status_has_a_class_and_only_a_passing_trouble_is_retried() -> None:
    found = {status: errors.error_class_for_http(status) for status in range(100, 600)}
    assert all(issubclass(cls, ServoError) for cls in found.values())
    retried = {status for status, cls in found.items() if cls.rule.retried}
    assert retried == {408, 425, 429, 502, 503, 504}


def test_a_bare_404_never_reads_as_a_thing_that_does_not_exist() -> None:
    assert not issubclass(errors.error_class_for_http(404), errors.NotFoundError)


def test_every_exit_code_leads_back_to_its_category() -> None:
    found = {code: errors.error_class_for_exit(code).category for code in range(256)}
    shared = {70}
    for category, rule in CATEGORY_RULES.items():
        expected = ErrorCategory.UNKNOWN if rule.exit_code in shared else category
        assert found[rule.exit_code] is expected
    ours = {rule.exit_code for rule in CATEGORY_RULES.values()}
    assert {found[code] for code in found if code not in ours} == {ErrorCategory.UNKNOWN}


def test_a_subclass_of_a_user_gets_the_rule_of_its_category() -> None:
    class Slow(ServoError):
        category = ErrorCategory.TIMEOUT

    assert Slow("x").exit_code == 75
