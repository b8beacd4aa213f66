"""What a function's signature and annotations say about its inputs.

Annotations are resolved by ``typing.get_type_hints`` and nothing else, and only those of
parameters that could be inputs: the annotation of ``ctx`` and of the result may name things
that exist for type checkers only.
"""

from __future__ import annotations

import inspect
import re
import sys
import types
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ForwardRef, Literal, Union, get_args, get_origin, get_type_hints

from servo.types.dependencies import (
    IDENTITY,
    AssetDependency,
    PartitionMapping,
    all_partitions,
    latest,
    window,
)
from servo.types.inputs import AssetIn, is_asset_in_type
from servo.types.keys import AssetKey

__all__ = [
    "InputParameter",
    "check_first_parameter",
    "dependencies",
    "function_of",
    "location",
    "parameters",
    "promised_data",
]

_FIRST_PARAMETER = "ctx"
_UNCALLED_MAPPINGS = (all_partitions, latest, window)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class InputParameter:
    """One parameter that receives an upstream asset.

    Attributes:
        name: Parameter name.
        key: Upstream asset.
        mapping: Which of its partitions are read.
        as_type: Class that the data is loaded as before the call, ``object`` for the reader's
            own form, or ``None`` for a lazy ``AssetIn`` handle.
        handle: The ``AssetIn`` class that the annotation names.
    """

    name: str
    key: AssetKey
    mapping: PartitionMapping
    as_type: type | None
    handle: type[AssetIn[Any]]


def function_of(target: Callable[..., object]) -> types.FunctionType:
    """Return the function as written, below whatever ``functools.wraps`` put around it.

    Raises:
        TypeError: There is none: ``target`` is a class, an instance or a built-in.
    """
    inner: object = target
    while (wrapped := getattr(inner, "__wrapped__", None)) is not None:
        inner = wrapped
    if not isinstance(inner, types.FunctionType):
        raise TypeError(
            f"@asset decorates a function written with def or async def, got {target!r}"
        )
    return inner


def location(function: types.FunctionType) -> str:
    """Return ``file:line`` of a function, its decorators included."""
    return f"{function.__code__.co_filename}:{function.__code__.co_firstlineno}"


def check_first_parameter(target: Callable[..., object]) -> None:
    """Require ``ctx`` as the first parameter.

    Args:
        target: The function, possibly wrapped.

    Raises:
        TypeError: It is another one; the message shows the right signature.
    """
    function = function_of(target)
    code = function.__code__
    signature = _own_signature(target)
    if signature is None:
        if code.co_argcount and code.co_varnames[0] == _FIRST_PARAMETER:
            return
        names = _parameter_names(function)
    else:
        names = tuple(_named_parameters(signature))
        first = next(iter(signature.parameters.values()), None)
        if first is not None and first.name == _FIRST_PARAMETER and first.kind in _POSITIONAL:
            return
    others = [name for name in names if name not in ("self", "cls")]
    wanted = ", ".join(["ctx: AssetContext", *others])
    raise TypeError(
        f"the first parameter of asset function {function.__qualname__!r} "
        f"({location(function)}) must be 'ctx': write def {function.__name__}({wanted})"
    )


def parameters(target: Callable[..., object]) -> tuple[InputParameter, ...]:
    """Find the inputs of an asset's function.

    Args:
        target: The function, possibly wrapped.

    Returns:
        Inputs in parameter order; ``ctx`` and parameters with a default of their own are not
        among them.

    Raises:
        TypeError: A parameter is neither an input nor has a default, its annotation is
            contradictory, or a name in it cannot be resolved.
    """
    function = function_of(target)
    signature = _own_signature(target)
    names = _parameter_names(function) if signature is None else tuple(_named_parameters(signature))
    names = names[1:]
    if not names:
        return ()
    annotations = _annotations(function) if signature is None else _annotations_of(signature)
    hints = _hints(function, names, annotations)
    found: list[InputParameter] = []
    for name in names:
        where = f"parameter {name!r} of asset function {function.__qualname__!r}"
        entry = _input(name, hints[name], where) if name in hints else None
        if entry is None:
            if not _has_default(function, name, signature):
                raise TypeError(
                    f"{where} ({location(function)}) has no AssetIn annotation and no default, "
                    f"so nothing can be passed for it: annotate it, such as "
                    f'{name}: AssetIn["namespace.name"], or give it a default'
                )
            continue
        if _is_positional_only(function, name, signature):
            raise TypeError(f"{where} is positional-only; inputs are passed by name")
        found.append(entry)
    return tuple(found)


def promised_data(target: Callable[..., object]) -> str:
    """Return the annotation of the result where it says that data comes, else nothing.

    An annotation that allows ``None``, says nothing (``Any``, a type variable) or cannot be
    resolved promises nothing.

    Args:
        target: The function, possibly wrapped; of an ``async def``, the awaited result counts.
    """
    function = function_of(target)
    signature = _own_signature(target)
    annotations = _annotations(function) if signature is None else _annotations_of(signature)
    try:
        result = _hints(function, ("return",), annotations)["return"]
    except (KeyError, TypeError):
        return ""
    if get_origin(result) in (Awaitable, Coroutine):
        result = get_args(result)[-1]
    return "" if _allows_none(result) else _printed(result)


def dependencies(inputs: tuple[InputParameter, ...]) -> tuple[AssetDependency, ...]:
    """Turn inputs into the dependencies of a definition, in the same order."""
    return tuple(
        AssetDependency(
            item.key,
            parameter_name=item.name,
            mapping=item.mapping.kind,
            window_start=item.mapping.start,
            window_end=item.mapping.end,
            window_unit=item.mapping.unit,
        )
        for item in inputs
    )


def _parameter_names(function: types.FunctionType) -> tuple[str, ...]:
    code = function.__code__
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _own_signature(target: object) -> inspect.Signature | None:
    """Return the signature that a decorator has declared for what it made, if one has.

    As for ``inspect.signature``, the outermost counts.
    """
    while target is not None:
        declared = getattr(target, "__signature__", None)
        if isinstance(declared, inspect.Signature):
            return declared
        target = getattr(target, "__wrapped__", None)
    return None


def _named_parameters(signature: inspect.Signature) -> Iterator[str]:
    for parameter in signature.parameters.values():
        if parameter.kind in _POSITIONAL or parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            yield parameter.name


def _annotations_of(signature: inspect.Signature) -> Mapping[str, Any]:
    empty = inspect.Signature.empty
    found = {name: one.annotation for name, one in signature.parameters.items()}
    found["return"] = signature.return_annotation
    return {name: annotation for name, annotation in found.items() if annotation is not empty}


def _has_default(
    function: types.FunctionType, name: str, signature: inspect.Signature | None
) -> bool:
    if signature is not None:
        return signature.parameters[name].default is not inspect.Parameter.empty
    code = function.__code__
    if name in (function.__kwdefaults__ or {}):
        return True
    count = len(function.__defaults__ or ())
    return name in code.co_varnames[code.co_argcount - count : code.co_argcount]


def _is_positional_only(
    function: types.FunctionType, name: str, signature: inspect.Signature | None
) -> bool:
    if signature is not None:
        return signature.parameters[name].kind is inspect.Parameter.POSITIONAL_ONLY
    return name in function.__code__.co_varnames[: function.__code__.co_posonlyargcount]


def _annotations(function: types.FunctionType) -> Mapping[str, Any]:
    if sys.version_info >= (3, 14):
        # Reading __annotations__ would evaluate all of them, those of ctx and the result too.
        import annotationlib

        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    return function.__annotations__


def _hints(
    function: types.FunctionType, names: tuple[str, ...], annotations: Mapping[str, Any]
) -> Mapping[str, Any]:
    wanted = {name: annotations[name] for name in names if name in annotations}
    if not any(_is_unresolved(annotation) for annotation in wanted.values()):
        return wanted
    closure = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    enclosing = {name: cell.cell_contents for name, cell in closure.items() if _filled(cell)}
    try:
        return get_type_hints(
            types.SimpleNamespace(__annotations__=wanted),
            globalns=function.__globals__,
            localns=enclosing or None,
            include_extras=True,
        )
    except NameError as exc:
        raise TypeError(
            f"the annotations of asset function {function.__qualname__!r} "
            f"({location(function)}) name {exc.name!r}, which does not exist when the module "
            f"runs: import it at the top of the module, not under 'if TYPE_CHECKING:' and not "
            f"inside a function"
        ) from exc
    except (SyntaxError, TypeError, ValueError, AttributeError) as exc:
        raise TypeError(
            f"the annotations of asset function {function.__qualname__!r} "
            f"({location(function)}) cannot be resolved: {exc}"
        ) from exc


def _is_unresolved(annotation: object) -> bool:
    if isinstance(annotation, str | ForwardRef):
        return True
    if isinstance(annotation, type):
        return False
    origin = get_origin(annotation)
    if origin is Annotated:
        return _is_unresolved(get_args(annotation)[0])
    # A union, an alias or a generic: rare, and its arguments may be strings at any depth.
    return origin is not None


def _filled(cell: types.CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _input(name: str, annotation: Any, where: str) -> InputParameter | None:
    found, metadata = _unwrap(annotation)
    extras: tuple[Any, ...] = metadata
    handles = [item for item in extras if is_asset_in_type(item)]
    mapping = _mapping(extras, where)
    if is_asset_in_type(found):
        if handles:
            raise TypeError(f"{where} names two assets: {found!r} and {handles[0]!r}")
        return InputParameter(name, found.key, mapping, found.as_type, found)
    if not handles:
        _refuse_other_uses(found, mapping, where)
        return None
    if len(handles) > 1:
        raise TypeError(f"{where} names two assets: {handles[0]!r} and {handles[1]!r}")
    as_type = object if found is Any else get_origin(found) or found
    if not isinstance(as_type, type) or as_type is types.UnionType:
        raise TypeError(
            f"{where} asks for its data as {found!r}, which is no class; use one such as "
            f"pl.DataFrame or pa.Table"
        )
    return InputParameter(name, handles[0].key, mapping, as_type, handles[0])


def _unwrap(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """Take ``Optional``, ``Annotated`` and named aliases off an annotation."""
    metadata: tuple[Any, ...] = ()
    while True:
        origin = get_origin(annotation)
        if origin is Annotated:
            metadata += annotation.__metadata__
            annotation = get_args(annotation)[0]
        elif origin is Union or origin is types.UnionType:
            members = [item for item in get_args(annotation) if item is not type(None)]
            if len(members) != 1:
                return annotation, metadata
            annotation = members[0]
        elif type(annotation).__name__ == "TypeAliasType":
            annotation = annotation.__value__
        else:
            return annotation, metadata


def _mapping(metadata: tuple[Any, ...], where: str) -> PartitionMapping:
    for item in metadata:
        if item in _UNCALLED_MAPPINGS:
            raise TypeError(f"{where}: {item.__name__} is a function; write {item.__name__}(...)")
    mappings = [item for item in metadata if isinstance(item, PartitionMapping)]
    if len(mappings) > 1:
        raise TypeError(f"{where} has two partition mappings: {mappings[0]!r}, {mappings[1]!r}")
    return mappings[0] if mappings else IDENTITY


def _refuse_other_uses(found: Any, mapping: PartitionMapping, where: str) -> None:
    members = get_args(found) if get_origin(found) in (Union, types.UnionType) else (found,)
    if AssetIn in members:
        raise TypeError(f'{where}: AssetIn needs a key, such as AssetIn["raw.events"]')
    if any(is_asset_in_type(member) for member in members):
        raise TypeError(f"{where} must name exactly one asset, got {found!r}")
    if mapping is not IDENTITY:
        raise TypeError(
            f"{where} has a partition mapping but no asset: add AssetIn['namespace.name'] to "
            f"its Annotated[...]"
        )


def _allows_none(annotation: Any) -> bool:
    waiting = [annotation]
    while waiting:
        one = waiting.pop()
        origin = get_origin(one)
        if origin is Annotated:
            waiting.append(get_args(one)[0])
        elif origin is Union or origin is types.UnionType:
            waiting += get_args(one)
        elif origin is Literal:
            if None in get_args(one):
                return True
        elif type(one).__name__ == "TypeAliasType":
            waiting.append(one.__value__)
        elif hasattr(one, "__supertype__"):  # a NewType
            waiting.append(one.__supertype__)
        elif one is None or not _is_class_without_none(origin or one):
            return True
    return False


def _is_class_without_none(kind: object) -> bool:
    # A class that None is an instance of allows it: NoneType, object, Hashable and the like.
    if not isinstance(kind, type):
        return False
    try:
        return not isinstance(None, kind)
    except TypeError:  # a protocol that cannot be asked
        return False


def _printed(annotation: Any) -> str:
    if isinstance(annotation, type):
        return annotation.__qualname__
    return re.sub(r"\b(?:[A-Za-z_]\w*\.)+(?=[A-Za-z_])", "", str(annotation))
