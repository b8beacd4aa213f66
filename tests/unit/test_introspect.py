"""What signatures and annotations say about inputs."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    NewType,
    NoReturn,
    Optional,
    Protocol,
    TypeVar,
)

import pytest

from servo import AssetContext, AssetIn, AssetOut, Err, Ok, all_partitions, latest, window
from servo._introspect import (
    InputParameter,
    check_first_parameter,
    dependencies,
    function_of,
    parameters,
    promised_data,
)
from servo.types import AssetKey, DependencyMapping, PartitionMapping, TimeGranularity

if TYPE_CHECKING:
    from decimal import Decimal as OnlyForTypeCheckers

Events = AssetIn[Literal["raw.events"]]


class Frame:
    pass


def only(function: Callable[..., Any]) -> InputParameter:
    (found,) = parameters(function)
    return found


def test_a_lazy_handle_is_found() -> None:
    def function(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None: ...

    found = only(function)
    assert (found.name, found.key) == ("events", AssetKey("raw", "events"))
    assert found.as_type is None
    assert found.mapping == PartitionMapping()


def test_a_key_without_literal_is_found() -> None:
    def function(ctx, events: 'AssetIn["raw.events"]'): ...  # type: ignore[no-untyped-def,name-defined]  # as users who run no type checker write it  # noqa: F821  # likewise

    assert only(function).key == AssetKey("raw", "events")


def test_annotations_that_are_objects_already_are_found() -> None:
    def function(ctx, events): ...  # type: ignore[no-untyped-def]  # annotated one line below

    function.__annotations__ = {"events": Annotated[Frame, Events, latest()]}
    assert only(function).as_type is Frame


def test_a_typed_input_is_loaded_as_its_class() -> None:
    def function(
        ctx: AssetContext, events: Annotated[Frame, AssetIn["raw.events"], window(days=7)]
    ) -> None: ...

    found = only(function)
    assert (found.key, found.as_type) == (AssetKey("raw", "events"), Frame)
    assert found.mapping == PartitionMapping(
        DependencyMapping.WINDOW, start=-6, end=0, unit=TimeGranularity.DAY
    )


@pytest.mark.parametrize(
    ("annotation", "as_type", "kind"),
    [
        (Events, None, "identity"),
        (Optional[Events], None, "identity"),  # noqa: UP045  # the other spelling is next
        (Events | None, None, "identity"),
        (Annotated[Events, all_partitions()], None, "all"),
        (Annotated[Events | None, latest()], None, "latest"),
        (Annotated[Frame, Events], Frame, "identity"),
        (Annotated[Frame, Events] | None, Frame, "identity"),
        (Annotated[Frame | None, Events, "a note"], Frame, "identity"),
        (Annotated[list[dict[str, int]], Events], list, "identity"),
        (Annotated[Any, Events], object, "identity"),
        (Annotated[Annotated[Frame, Events], latest()], Frame, "latest"),
    ],
    ids=repr,
)
def test_every_spelling_of_an_input_is_understood(
    annotation: Any, as_type: type | None, kind: str
) -> None:
    def function(ctx, events): ...  # type: ignore[no-untyped-def]  # annotated one line below

    function.__annotations__ = {"events": annotation}
    found = only(function)
    assert (found.key, found.as_type, found.mapping.kind) == (
        AssetKey("raw", "events"),
        as_type,
        kind,
    )


def test_the_annotated_class_of_a_handle_is_kept() -> None:
    def function(ctx, events): ...  # type: ignore[no-untyped-def]  # annotated one line below

    subscribed: Any = AssetIn
    function.__annotations__ = {"events": subscribed["raw.events", Frame]}
    assert only(function).as_type is Frame
    assert only(function).handle is subscribed["raw.events", Frame]


def test_inputs_come_in_parameter_order_without_ctx_and_options() -> None:
    def function(
        ctx: AssetContext,
        second: AssetIn[Literal["raw.b"]],
        limit: int = 5,
        *,
        first: AssetIn[Literal["raw.a"]],
        flag: bool = False,
        **more: int,
    ) -> None: ...

    assert [found.name for found in parameters(function)] == ["second", "first"]


def test_dependencies_follow_the_inputs() -> None:
    def function(
        ctx: AssetContext,
        b: Annotated[Frame, AssetIn["raw.b"], window(start=-2, end=1)],
        a: Annotated[Frame, AssetIn["raw.a"], all_partitions()],
    ) -> None: ...

    found = dependencies(parameters(function))
    assert [(str(item.upstream_key), item.parameter_name, item.mapping) for item in found] == [
        ("raw.b", "b", "window"),
        ("raw.a", "a", "all"),
    ]
    assert (found[0].window_start, found[0].window_end) == (-2, 1)


def test_names_of_an_enclosing_function_are_resolved_when_it_keeps_them() -> None:
    local = AssetIn[Literal["raw.local"]]

    def function(ctx: AssetContext, events: local) -> Any:
        return local

    assert only(function).key == AssetKey("raw", "local")


def test_ctx_and_the_result_may_be_annotated_for_type_checkers_only() -> None:
    def function(
        ctx: OnlyForTypeCheckers, events: AssetIn[Literal["raw.events"]]
    ) -> OnlyForTypeCheckers:
        return ctx

    assert only(function).name == "events"


def test_a_name_that_exists_only_for_type_checkers_is_refused_with_the_remedy() -> None:
    def function(
        ctx: AssetContext, events: Annotated[OnlyForTypeCheckers, AssetIn["raw.events"]]
    ) -> None: ...

    with pytest.raises(TypeError, match=r"'OnlyForTypeCheckers'.*not under 'if TYPE_CHECKING:'"):
        parameters(function)


def test_an_annotation_that_cannot_be_evaluated_is_refused_with_the_place() -> None:
    def function(ctx, events): ...  # type: ignore[no-untyped-def]  # annotated one line below

    function.__annotations__ = {"events": "AssetIn['no key']"}
    with pytest.raises(TypeError, match=r"test_introspect.py:\d+.*Invalid asset key"):
        parameters(function)


def test_a_parameter_that_nothing_can_be_passed_for_is_refused() -> None:
    def function(ctx: AssetContext, events: int) -> None: ...

    with pytest.raises(TypeError, match=r"'events' .*no AssetIn annotation and no default"):
        parameters(function)


def test_a_parameter_without_annotation_is_refused() -> None:
    def function(ctx, *, events): ...  # type: ignore[no-untyped-def]  # the point of the test

    with pytest.raises(TypeError, match=r'events: AssetIn\["namespace\.name"\]'):
        parameters(function)


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (AssetIn, "AssetIn needs a key"),
        (AssetIn | None, "AssetIn needs a key"),
        (Annotated[Frame, Events, AssetIn[Literal["raw.b"]]], r"names two.*raw\.events.*raw\.b"),
        (Annotated[Events, AssetIn[Literal["raw.b"]]], r"names two.*raw\.events.*raw\.b"),
        (Events | AssetIn[Literal["raw.b"]], "exactly one asset"),
        (Annotated[Frame, latest()], "mapping but no asset"),
        (Annotated[Frame, Events, latest(), window(days=1)], "two partition mappings"),
        (Annotated[Frame, Events, latest], r"write latest\(...\)"),
        (Annotated[Frame | int, Events], "no class"),
    ],
    ids=lambda value: value if isinstance(value, str) else "of",
)
def test_an_annotation_that_makes_no_sense_is_refused(annotation: Any, words: str) -> None:
    def function(ctx, events): ...  # type: ignore[no-untyped-def]  # annotated one line below

    function.__annotations__ = {"events": annotation}
    with pytest.raises(TypeError, match=words):
        parameters(function)


def test_a_positional_only_input_is_refused() -> None:
    def function(ctx: AssetContext, events: AssetIn[Literal["raw.events"]], /) -> None: ...

    with pytest.raises(TypeError, match="positional-only"):
        parameters(function)


def test_a_wrapped_function_is_looked_through() -> None:
    def function(ctx: AssetContext, events: AssetIn[Literal["raw.events"]]) -> None: ...

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)

    assert function_of(wrapper) is function
    assert parameters(wrapper) == parameters(function)


@pytest.mark.parametrize("target", [len, Frame, Frame(), functools.partial(len)])
def test_what_is_no_function_is_refused(target: Any) -> None:
    with pytest.raises(TypeError, match="def or async def"):
        function_of(target)


def test_the_first_parameter_must_be_ctx_and_the_right_signature_is_shown() -> None:
    def function(self: object, events: int) -> None: ...

    with pytest.raises(TypeError, match=r"write def function\(ctx: AssetContext, events\)"):
        check_first_parameter(function_of(function))


def test_keyword_only_ctx_is_not_first() -> None:
    def function(*, ctx: AssetContext) -> None: ...

    with pytest.raises(TypeError, match="must be 'ctx'"):
        check_first_parameter(function_of(function))


# -- what a decorator declares -------------------------------------------------------------


def supplies_connection(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(ctx: Any, **inputs: Any) -> Any:
        return function(ctx, connection="open", **inputs)

    signature = inspect.signature(function)
    declared = [one for name, one in signature.parameters.items() if name != "connection"]
    vars(wrapper)["__signature__"] = signature.replace(parameters=declared)
    return wrapper


def reads_with_connection(
    ctx: AssetContext, connection: str, events: AssetIn[Literal["raw.events"]], limit: int = 3
) -> list[dict[str, int]]:
    return []


def test_a_parameter_that_a_decorator_supplies_is_not_an_input() -> None:
    wrapped = supplies_connection(reads_with_connection)
    assert [one.name for one in parameters(wrapped)] == ["events"]
    assert function_of(wrapped) is reads_with_connection
    # The outermost signature counts, whatever is put around it.
    outer = functools.wraps(wrapped)(lambda *args, **named: [wrapped(*args, **named)])
    del vars(outer)["__signature__"]
    assert [one.name for one in parameters(outer)] == ["events"]


def test_what_a_decorator_declares_is_checked_like_what_is_written() -> None:
    def with_parameters(*declared: inspect.Parameter) -> Callable[..., Any]:
        @functools.wraps(reads_with_connection)
        def wrapper(*args: Any, **named: Any) -> Any: ...

        vars(wrapper)["__signature__"] = inspect.Signature(declared)
        return wrapper

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    ctx = inspect.Parameter("ctx", kind)
    with pytest.raises(TypeError, match=r"parameter 'more'.*no AssetIn annotation and no default"):
        parameters(with_parameters(ctx, inspect.Parameter("more", kind)))
    alone = inspect.Parameter("events", inspect.Parameter.POSITIONAL_ONLY, annotation=Events)
    first = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_ONLY)
    with pytest.raises(TypeError, match="positional-only"):
        parameters(with_parameters(first, alone))
    with pytest.raises(TypeError, match=r"must be 'ctx': write def .*\(ctx: AssetContext, other\)"):
        check_first_parameter(with_parameters(inspect.Parameter("other", kind)))
    with pytest.raises(TypeError, match="must be 'ctx'"):
        check_first_parameter(with_parameters())
    check_first_parameter(with_parameters(ctx))
    # What collects the rest is no input.
    rest = inspect.Parameter("rest", inspect.Parameter.VAR_KEYWORD)
    assert parameters(with_parameters(ctx, rest)) == ()


# -- what the result promises --------------------------------------------------------------

Rows = NewType("Rows", list[dict[str, int]])
MaybeRows = NewType("MaybeRows", list | None)  # type: ignore[type-arg,valid-newtype]  # legal when it runs
T = TypeVar("T")


class Asked(Protocol):
    def rows(self) -> int: ...


@pytest.mark.parametrize(
    ("annotation", "promised"),
    [
        (list[dict[str, int]], "list[dict[str, int]]"),
        ("list[dict]", "list[dict]"),
        (Frame, "Frame"),
        (Annotated[Frame, "note"], "Annotated"),
        (AssetOut[Frame], "AssetOut"),
        (Ok[Frame] | Err[str], "Union[Ok[Frame], Err[str]]"),
        (Rows, "Rows"),
        (Literal["a"], "Literal['a']"),
        (Awaitable[Frame], "Frame"),
        (Coroutine[Any, Any, Frame], "Frame"),
        (list[int] | Frame, "list[int] |"),
    ],
    ids=str,
)
def test_an_annotation_of_data_promises_data(annotation: Any, promised: str) -> None:
    def function(ctx): ...  # type: ignore[no-untyped-def]  # annotated one line below

    function.__annotations__ = {"return": annotation}
    assert promised_data(function).startswith(promised)


@pytest.mark.parametrize(
    "annotation",
    [
        None,
        "None",
        Any,
        object,
        Hashable,
        Frame | None,
        "Optional[Frame]",
        Annotated[Frame | None, "note"],
        Literal["a", None],
        MaybeRows,
        T,
        Asked,
        NoReturn,
        Awaitable[None],
        Coroutine[Any, Any, Frame | None],
        "OnlyForTypeCheckers",
        "does.not.exist",
        "not python",
    ],
    ids=str,
)
def test_an_annotation_that_allows_none_or_says_nothing_promises_nothing(annotation: Any) -> None:
    def function(ctx): ...  # type: ignore[no-untyped-def]  # annotated one line below

    function.__annotations__ = {"return": annotation}
    assert promised_data(function) == ""


def test_a_function_without_annotation_promises_nothing() -> None:
    assert promised_data(lambda ctx: None) == ""


def test_the_result_that_a_decorator_declares_counts() -> None:
    assert promised_data(supplies_connection(reads_with_connection)) == "list[dict[str, int]]"
