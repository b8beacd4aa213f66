"""A Hypothesis strategy for each type of the façade that crosses the wire.

Records and messages of services are built from their annotations, with the bounds of integers taken
from the contract, so that a new type or field is covered on the day it is added. Types with rules
of their own come from ``strategies``.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st
from msgspec import Struct

import strategies
from servo._wire.table import row_of
from servo.errors import ErrorCategory, ServoError, cause_chain, error_type
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetKey,
    Check,
    CheckResult,
    CodeLocation,
    ExecutionPolicy,
    IoConfig,
    PartitionDimension,
    PartitionKey,
    PartitionStrategy,
    ResourceRequirements,
    RetryPolicy,
)
from servo.types.blockers import ExplainRequest
from servo.types.manifests import ManifestContents
from servo.types.pools import SetPoolRequest
from servo.types.requests import CreateRunRequest, DeployRequest, ReadLogsRequest

# The longest duration of Protobuf; a timedelta can be longer.
LONGEST = timedelta(seconds=315_576_000_000)
INTEGERS = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
}


@functools.cache
def of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the façade, or of a union of such types."""
    if kind in SPECIAL:
        return SPECIAL[kind]()
    if isinstance(kind, types.UnionType):
        return st.one_of([of(part) for part in typing.get_args(kind)])
    for union in (PartitionDimension, Check):
        if kind in typing.get_args(union):
            return of(union).filter(lambda value: type(value) is kind)
    hints = typing.get_type_hints(kind)
    parts = {}
    for name in field_names(kind):
        exception = EXCEPTIONS.get((kind, name)) or AMOUNTS.get(name)
        parts[name] = exception() if exception else _values(hints[name], kind, name)
    return st.builds(kind, **parts)


def field_names(kind: type, *, compared: bool = False) -> tuple[str, ...]:
    """Return the fields of a dataclass or a record; ``compared``: those that equality looks at."""
    if issubclass(kind, Struct):
        return kind.__struct_fields__
    fields = dataclasses.fields(kind)
    return tuple(field.name for field in fields if field.compare or not compared)


def manifests() -> st.SearchStrategy[ManifestContents]:
    """Manifests with every part of them, whether they make sense together or not."""
    return of(ManifestContents)


def comparable(value: Any) -> Any:
    """Return what equality of a value means: errors have none, and no NaN equals another."""
    if isinstance(value, ServoError):
        causes = [
            (type(cause), getattr(cause, "code", ""), str(cause)) for cause in cause_chain(value)
        ]
        return type(value), value.code, value.category, str(value), dict(value.context), causes
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, tuple):
        return tuple(comparable(item) for item in value)
    if dataclasses.is_dataclass(value) or isinstance(value, Struct):
        names = field_names(type(value), compared=True)
        return type(value), {name: comparable(getattr(value, name)) for name in names}
    return value


def _values(hint: Any, owner: type, name: str) -> st.SearchStrategy[Any]:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union) and hint not in SPECIAL:
        return st.one_of([_values(part, owner, name) for part in parts])
    if origin is tuple:
        return st.lists(_values(parts[0], owner, name), max_size=2).map(tuple)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return strategies.text_maps()
    if hint is int:
        descriptor = row_of(owner).message.DESCRIPTOR
        return INTEGERS[descriptor.fields_by_name[name].type]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    found = PLAIN.get(hint)
    return found if found is not None else of(hint)


def _errors() -> st.SearchStrategy[ServoError]:
    # A server leaves directories out of errors about its files; there are none in these texts.
    text = strategies.texts(min_size=1).filter(lambda text: "/" not in text and "\\" not in text)
    codes = st.from_regex(r"[A-Z]{3,8}(_[A-Z]{3,8})?", fullmatch=True) | st.just("LEASE_EXPIRED")
    context = st.dictionaries(text, text, max_size=3)

    def build(
        category: ErrorCategory,
        code: str,
        message: str,
        facts: dict[str, str],
        causes: list[tuple[str, str]],
    ) -> ServoError:
        error = error_type(category, code=code)(message, code=code, context=facts)
        outer: BaseException = error
        for cause_code, cause_message in causes:
            outer.__cause__ = ServoError(cause_message, code=cause_code)
            outer = outer.__cause__
        return error

    causes = st.lists(st.tuples(codes, text), max_size=3)
    return st.builds(build, st.sampled_from(ErrorCategory), codes, text, context, causes)


def _questions() -> st.SearchStrategy[ExplainRequest]:
    some = strategies.texts(min_size=1)
    partition_key = st.none() | strategies.partition_keys()
    return st.one_of(
        st.builds(ExplainRequest, run_id=some, partition_key=partition_key),
        st.builds(ExplainRequest, task_id=some, partition_key=partition_key),
        st.builds(ExplainRequest, asset_key=strategies.asset_keys(), partition_key=partition_key),
    )


PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: strategies.texts(),
    bytes: st.binary(max_size=40),
    bool: st.booleans(),
    float: st.floats(),
    type(None): st.none(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    timedelta: st.timedeltas(-LONGEST, LONGEST),
}
SPECIAL: dict[Any, Callable[[], st.SearchStrategy[Any]]] = {
    AssetDefinition: strategies.asset_definitions,
    AssetDependency: strategies.asset_dependencies,
    AssetKey: strategies.asset_keys,
    Check: strategies.checks,
    CheckResult: strategies.check_results,
    CodeLocation: strategies.code_locations,
    ExecutionPolicy: strategies.execution_policies,
    IoConfig: strategies.io_configs,
    PartitionDimension: strategies.dimensions,
    PartitionKey: strategies.partition_keys,
    PartitionStrategy: strategies.partition_strategies,
    ResourceRequirements: strategies.resource_requirements,
    RetryPolicy: strategies.retry_policies,
    ExplainRequest: _questions,
    ServoError: _errors,
}
AMOUNTS: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
    "budget": strategies.budgets,
    "spent": strategies.budgets,
    "spent_before": strategies.budgets,
}
"""Decimal numbers by unit, whatever type they are a field of."""
_SIZES = st.integers(0, 2**31 - 1)
EXCEPTIONS: dict[tuple[type, str], Callable[[], st.SearchStrategy[Any]]] = {
    # The assets of a manifest travel in chunks, beside the request.
    (DeployRequest, "header"): lambda: manifests().map(
        lambda manifest: dataclasses.replace(manifest, assets=())
    ),
    (CreateRunRequest, "max_parallelism"): lambda: _SIZES,
    (CreateRunRequest, "timeout_seconds"): lambda: _SIZES,
    (CreateRunRequest, "max_retries"): lambda: st.none() | _SIZES,
    (ReadLogsRequest, "tail"): lambda: st.none() | _SIZES,
    (ReadLogsRequest, "attempt"): lambda: st.none() | st.integers(1, 2**31 - 1),
    (SetPoolRequest, "name"): strategies.names,
    (SetPoolRequest, "slots"): lambda: st.none() | _SIZES,
}
