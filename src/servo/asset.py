"""``@asset``: declare that a function produces a data asset.

Decorating is cheap on purpose: it checks what can be checked at a glance and stores the rest.
Annotations are resolved and the definition is built when ``.definition`` is first read.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache, update_wrapper
from types import FunctionType
from typing import Any, Final, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, overload

from servo._introspect import (
    InputParameter,
    check_first_parameter,
    dependencies,
    function_of,
    parameters,
)
from servo._registry import get_registry
from servo.types._frozen import check_type, text_map, text_tuple
from servo.types.assets import (
    AssetDefinition,
    CodeLocation,
    ExecutionPolicy,
    IoConfig,
    ResourceRequirements,
    RetryPolicy,
    check_check_names,
)
from servo.types.checks import Check
from servo.types.keys import DEFAULT_NAMESPACE, AssetKey
from servo.types.partitions import PartitionDimension, PartitionStrategy

__all__ = ["Asset", "asset"]

P = ParamSpec("P")
R = TypeVar("R")

Partitions: TypeAlias = PartitionStrategy | PartitionDimension | Iterable[PartitionDimension]

_DEFAULT_IO = IoConfig()
_DEFAULT_EXECUTION = ExecutionPolicy()
_DEFAULT_RESOURCES = ResourceRequirements()
_NOT_PARTITIONED = PartitionStrategy()

# A policy is given as a whole: each of its fields then is what the author wants.
_EVERY_EXECUTION_PART: Mapping[str, bool] = {
    field.name: True for field in dataclasses.fields(ExecutionPolicy)
}
_EVERY_RESOURCE_PART: Mapping[str, bool] = {
    field.name: True for field in dataclasses.fields(ResourceRequirements)
}


class _Declaration(NamedTuple):
    """The arguments of one ``@asset``, checked but not yet joined with the function."""

    description: str | None
    partitioning: PartitionStrategy
    owners: tuple[str, ...]
    tags: Mapping[str, str]
    checks: tuple[Check, ...]
    io: IoConfig
    execution: ExecutionPolicy
    resources: ResourceRequirements
    code_version: str
    renamed_from: AssetKey | None
    metadata: Mapping[str, str]
    given: frozenset[str]


class Asset(Generic[P, R]):
    """A function that produces a data asset; still callable with its own parameters.

    Attributes:
        key: Name of the asset.
        function: The decorated function.
    """

    __wrapped__: Callable[P, R]

    def __init__(self, function: Callable[P, R], key: AssetKey, declaration: _Declaration) -> None:
        self.key = key
        self.function = function
        self._declaration = declaration
        self._inputs: tuple[InputParameter, ...] | None = None
        self._declared: AssetDefinition | None = None
        self._definition: AssetDefinition | None = None
        # What functools.update_wrapper does, without its loop.
        self.__wrapped__ = function
        self.__module__ = function.__module__
        self.__name__ = function.__name__
        self.__qualname__ = function.__qualname__
        self.__doc__ = function.__doc__

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function, as if it were not decorated."""
        return self.function(*args, **kwargs)

    @property
    def given(self) -> frozenset[str]:
        """Names of the arguments of ``@asset`` that were given a value, equal to a default or not.

        ``execution=`` and ``resources=`` count for each of their fields as well, so
        ``"max_retries" in asset.given`` tells a number of retries that the author chose from the
        default. The definition and the manifest hold the same value either way.
        """
        return self._declaration.given

    @property
    def inputs(self) -> tuple[InputParameter, ...]:
        """The parameters that receive upstream assets, in order.

        Raises:
            TypeError: An annotation cannot be resolved or makes no sense.
        """
        if self._inputs is None:
            self._inputs = parameters(self.function)
        return self._inputs

    @property
    def definition(self) -> AssetDefinition:
        """Everything about the asset except its code.

        Without an id and ``code.fingerprint``, which depend on the project: its manifest has them.

        Raises:
            TypeError: An annotation cannot be resolved or makes no sense.
        """
        if self._definition is None:
            from servo._fingerprint import fingerprint_of  # the parser of Python, for few programs

            self._definition = dataclasses.replace(
                self.declared, transform_fingerprint=fingerprint_of(self.function).digest
            )
        return self._definition

    @property
    def declared(self) -> AssetDefinition:
        """The definition without fingerprints: for a manifest all of them are taken together.

        Raises:
            TypeError: An annotation cannot be resolved or makes no sense.
        """
        if self._declared is None:
            self._declared = self._define()
        return self._declared

    def _define(self) -> AssetDefinition:
        code = function_of(self.function).__code__
        given = self._declaration
        description = given.description
        if description is None:
            description = (self.__doc__ or "").strip().partition("\n")[0].strip()
        return AssetDefinition(
            self.key,
            code=CodeLocation(
                self.__module__,
                self.__qualname__,
                file_path=os.path.abspath(code.co_filename),  # noqa: PTH100  # pathlib costs ten times as much, for each of 10,000 assets
                line_number=code.co_firstlineno,
            ),
            description=description,
            owners=given.owners,
            tags=given.tags,
            partitioning=given.partitioning,
            dependencies=dependencies(self.inputs),
            io=given.io,
            checks=given.checks,
            execution=given.execution,
            resources=given.resources,
            code_version=given.code_version,
            renamed_from=given.renamed_from,
            metadata=given.metadata,
        )

    @cached_property
    def _by_value(self) -> Callable[P, R]:
        """The function under a name of its own, as the asset has taken the function's."""
        function = self.function
        if type(function) is not FunctionType:
            return function
        twin = FunctionType(
            function.__code__,
            function.__globals__,
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        twin.__kwdefaults__ = function.__kwdefaults__
        twin.__module__ = function.__module__
        update_wrapper(twin, function)
        vars(twin).clear()
        vars(twin).update(vars(function))
        twin.__qualname__ = f"{self.__qualname__}.{_TWIN}"
        return twin

    def __reduce__(self) -> str | tuple[Callable[..., object], tuple[object, ...]]:
        # By reference, as functions are, where the other process can import it. Otherwise by
        # parts: cloudpickle takes functions of __main__ and local ones by value, and pickle finds
        # the twin of a script's asset by its name.
        is_found = _named(self.__module__, self.__qualname__) is self
        if is_found and self.__module__ != "__main__":
            return self.__qualname__
        function = self._by_value if is_found else self.function
        return _restore, (function, self.key, self._declaration)

    def __repr__(self) -> str:
        return f"<Asset {str(self.key)!r} from {self.__module__}.{self.__qualname__}>"


_TWIN: Final = "_by_value"


def _restore(
    function: Callable[..., Any], key: AssetKey, declaration: _Declaration
) -> Asset[..., Any]:
    """Make an asset of its parts, or find it where this process has it."""
    name, _, last = function.__qualname__.rpartition(".")
    if last == _TWIN:
        found = _named(function.__module__, name)
        if isinstance(found, Asset) and found._by_value is function:
            return found
        function.__qualname__ = name
    return Asset(function, key, declaration)


def _named(module: str, qualname: str) -> object:
    found: object = sys.modules.get(module)
    for name in qualname.split("."):
        found = getattr(found, name, None)
    return found


@overload
def asset(function: Callable[P, R], /) -> Asset[P, R]: ...


@overload
def asset(
    *,
    name: str | None = None,
    namespace: str | None = None,
    description: str | None = None,
    partitions: Partitions | None = None,
    owners: Iterable[str] | None = None,
    tags: Mapping[str, str] | None = None,
    checks: Iterable[Check] | None = None,
    io: IoConfig | None = None,
    execution: ExecutionPolicy | None = None,
    max_retries: int | None = None,
    retry_delay_seconds: int | None = None,
    timeout_seconds: int | None = None,
    max_parallelism: int | None = None,
    retry: RetryPolicy | None = None,
    pools: Mapping[str, int] | Iterable[str] | None = None,
    resources: ResourceRequirements | None = None,
    cpu_millicores: int | None = None,
    memory_mib: int | None = None,
    code_version: str | None = None,
    renamed_from: AssetKey | str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Callable[[Callable[P, R]], Asset[P, R]]: ...


def asset(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    namespace: str | None = None,
    description: str | None = None,
    partitions: Partitions | None = None,
    owners: Iterable[str] | None = None,
    tags: Mapping[str, str] | None = None,
    checks: Iterable[Check] | None = None,
    io: IoConfig | None = None,
    execution: ExecutionPolicy | None = None,
    max_retries: int | None = None,
    retry_delay_seconds: int | None = None,
    timeout_seconds: int | None = None,
    max_parallelism: int | None = None,
    retry: RetryPolicy | None = None,
    pools: Mapping[str, int] | Iterable[str] | None = None,
    resources: ResourceRequirements | None = None,
    cpu_millicores: int | None = None,
    memory_mib: int | None = None,
    code_version: str | None = None,
    renamed_from: AssetKey | str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Any:
    """Declare that a function produces a data asset; bare or with arguments.

    An argument that is left out, or ``None``, takes its default; ``Asset.given`` names the others.

    Args:
        function: The function, when used bare. Its first parameter is ``ctx``; parameters
            annotated with ``AssetIn`` are its inputs.
        name: Name of the asset; the function's by default.
        namespace: Namespace; by default the last part of a module below ``assets``
            (``my.assets.staging`` is ``staging``), else ``default``.
        description: One line for people; the docstring's first line by default.
        partitions: One dimension, several, or a ``PartitionStrategy``.
        owners: Who answers for the asset.
        tags: Free text by name.
        checks: Checks, each name once.
        io: How the data is written.
        execution: How attempts are made, instead of the next six; a priority and a budget are
            given here.
        max_retries: Attempts after the first; 3 by default.
        retry_delay_seconds: Pause before the second attempt; 60 by default.
        timeout_seconds: Longest duration of one attempt; 3600 by default.
        max_parallelism: Most partitions worked on at a time; zero, the default, for no limit.
        retry: When another attempt is made, and how the pause grows.
        pools: Pools that an attempt takes a slot of, or slots by pool.
        resources: What one attempt needs, instead of the next two.
        cpu_millicores: Thousandths of a processor core; 1000 by default.
        memory_mib: Memory in MiB; 1024 by default.
        code_version: Version of the logic, when its text alone does not say it.
        renamed_from: Key under which the asset was known before; it keeps its identity.
        metadata: Free text by name that no part of Servo reads.

    Returns:
        The asset, callable like the function; with arguments, a decorator that returns it.

    Raises:
        TypeError: The first parameter is not ``ctx``, or an argument has the wrong type.
        ValueError: The key is malformed or taken, or an argument makes no sense.
    """
    execution_parts = _given(
        max_retries=max_retries,
        retry_delay_seconds=retry_delay_seconds,
        timeout_seconds=timeout_seconds,
        max_parallelism=max_parallelism,
        retry=retry,
        pools=pools,
    )
    resource_parts = _given(cpu_millicores=cpu_millicores, memory_mib=memory_mib)
    declaration = _Declaration(
        description=None if description is None else check_type(description, str, "description"),
        partitioning=_NOT_PARTITIONED if partitions is None else _strategy(partitions),
        owners=() if owners is None else text_tuple(owners, "owners"),
        tags=text_map(tags or {}, "tags"),
        checks=() if checks is None else check_check_names(checks),
        io=_DEFAULT_IO if io is None else check_type(io, IoConfig, "io"),
        execution=_execution(execution, execution_parts),
        resources=_resources(resources, resource_parts),
        code_version="" if code_version is None else check_type(code_version, str, "code_version"),
        renamed_from=None if renamed_from is None else _key(renamed_from),
        metadata=text_map(metadata or {}, "metadata"),
        given=frozenset(
            _given(
                name=name,
                namespace=namespace,
                description=description,
                partitions=partitions,
                owners=owners,
                tags=tags,
                checks=checks,
                io=io,
                execution=execution,
                **(execution_parts if execution is None else _EVERY_EXECUTION_PART),
                resources=resources,
                **(resource_parts if resources is None else _EVERY_RESOURCE_PART),
                code_version=code_version,
                renamed_from=renamed_from,
                metadata=metadata,
            )
        ),
    )

    def decorate(target: Callable[P, R]) -> Asset[P, R]:
        if isinstance(target, Asset):
            raise TypeError(f"{target!r} is an asset already; decorate the function once")
        inner = function_of(target)
        check_first_parameter(target)
        key = AssetKey(
            _default_namespace(inner.__module__) if namespace is None else namespace,
            inner.__name__ if name is None else name,
        )
        made = Asset(target, key, declaration)
        get_registry().register(made)
        return made

    return decorate if function is None else decorate(function)


@lru_cache(maxsize=1024)
def _default_namespace(module: str) -> str:
    *above, last = module.split(".")
    return last if "assets" in above else DEFAULT_NAMESPACE


def _strategy(partitions: Partitions) -> PartitionStrategy:
    if isinstance(partitions, PartitionStrategy):
        return partitions
    if isinstance(partitions, PartitionDimension):
        return PartitionStrategy((partitions,))
    return PartitionStrategy(partitions)


def _key(value: AssetKey | str) -> AssetKey:
    return value if isinstance(value, AssetKey) else AssetKey.parse(value)


def _given(**arguments: Any) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}


def _execution(given: ExecutionPolicy | None, parts: Mapping[str, Any]) -> ExecutionPolicy:
    if given is None:
        return ExecutionPolicy(**parts) if parts else _DEFAULT_EXECUTION
    if parts:
        raise TypeError(f"give either execution= or {', '.join(f'{name}=' for name in parts)}")
    return check_type(given, ExecutionPolicy, "execution")


def _resources(
    given: ResourceRequirements | None, parts: Mapping[str, Any]
) -> ResourceRequirements:
    if given is None:
        return ResourceRequirements(**parts) if parts else _DEFAULT_RESOURCES
    if parts:
        raise TypeError(f"give either resources= or {', '.join(f'{name}=' for name in parts)}")
    return check_type(given, ResourceRequirements, "resources")
