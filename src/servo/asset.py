"""``@asset``: declare that a function produces a data asset.

Decorating is cheap on purpose: it checks what can be checked at a glance and stores the rest.
Annotations are resolved and the definition is built when ``.definition`` is first read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any, Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, overload

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
        """Everything about the asset except its code; without id and fingerprint.

        Raises:
            TypeError: An annotation cannot be resolved or makes no sense.
        """
        if self._definition is None:
            self._definition = self._define()
        return self._definition

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

    def __reduce__(self) -> str:
        # Pickled by reference, as functions are.
        return self.__qualname__

    def __repr__(self) -> str:
        return f"<Asset {str(self.key)!r} from {self.__module__}.{self.__qualname__}>"


@overload
def asset(function: Callable[P, R], /) -> Asset[P, R]: ...


@overload
def asset(
    *,
    name: str | None = None,
    namespace: str | None = None,
    description: str | None = None,
    partitions: Partitions | None = None,
    owners: Iterable[str] = (),
    tags: Mapping[str, str] | None = None,
    checks: Iterable[Check] = (),
    io: IoConfig | None = None,
    execution: ExecutionPolicy | None = None,
    max_retries: int = 3,
    retry_delay_seconds: int = 60,
    timeout_seconds: int = 3600,
    max_parallelism: int = 0,
    retry: RetryPolicy | None = None,
    pools: Mapping[str, int] | Iterable[str] = (),
    resources: ResourceRequirements | None = None,
    cpu_millicores: int = 1000,
    memory_mib: int = 1024,
    code_version: str = "",
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
    owners: Iterable[str] = (),
    tags: Mapping[str, str] | None = None,
    checks: Iterable[Check] = (),
    io: IoConfig | None = None,
    execution: ExecutionPolicy | None = None,
    max_retries: int = 3,
    retry_delay_seconds: int = 60,
    timeout_seconds: int = 3600,
    max_parallelism: int = 0,
    retry: RetryPolicy | None = None,
    pools: Mapping[str, int] | Iterable[str] = (),
    resources: ResourceRequirements | None = None,
    cpu_millicores: int = 1000,
    memory_mib: int = 1024,
    code_version: str = "",
    renamed_from: AssetKey | str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Any:
    """Declare that a function produces a data asset; bare or with arguments.

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
        max_retries: Attempts after the first.
        retry_delay_seconds: Pause before the second attempt.
        timeout_seconds: Longest duration of one attempt.
        max_parallelism: Most partitions worked on at a time; zero for no limit.
        retry: When another attempt is made, and how the pause grows.
        pools: Pools that an attempt takes a slot of, or slots by pool.
        resources: What one attempt needs, instead of the next two.
        cpu_millicores: Thousandths of a processor core.
        memory_mib: Memory in MiB.
        code_version: Version of the logic, when its text alone does not say it.
        renamed_from: Key under which the asset was known before; it keeps its identity.
        metadata: Free text by name that no part of Servo reads.

    Returns:
        The asset, callable like the function; with arguments, a decorator that returns it.

    Raises:
        TypeError: The first parameter is not ``ctx``, or an argument has the wrong type.
        ValueError: The key is malformed or taken, or an argument makes no sense.
    """
    declaration = _Declaration(
        description=None if description is None else check_type(description, str, "description"),
        partitioning=_NOT_PARTITIONED if partitions is None else _strategy(partitions),
        owners=text_tuple(owners, "owners"),
        tags=text_map(tags or {}, "tags"),
        checks=check_check_names(checks),
        io=_DEFAULT_IO if io is None else check_type(io, IoConfig, "io"),
        execution=_execution(
            execution,
            max_retries=max_retries,
            retry_delay_seconds=retry_delay_seconds,
            timeout_seconds=timeout_seconds,
            max_parallelism=max_parallelism,
            retry=_DEFAULT_EXECUTION.retry if retry is None else retry,
            pools=pools or _DEFAULT_EXECUTION.pools,
        ),
        resources=_resources(resources, cpu_millicores, memory_mib),
        code_version=check_type(code_version, str, "code_version"),
        renamed_from=None if renamed_from is None else _key(renamed_from),
        metadata=text_map(metadata or {}, "metadata"),
    )

    def decorate(target: Callable[P, R]) -> Asset[P, R]:
        if isinstance(target, Asset):
            raise TypeError(f"{target!r} is an asset already; decorate the function once")
        inner = function_of(target)
        check_first_parameter(inner)
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


def _execution(given: ExecutionPolicy | None, **parts: Any) -> ExecutionPolicy:
    default = _DEFAULT_EXECUTION
    plain = all(value == getattr(default, name) for name, value in parts.items())
    if given is None:
        return default if plain else ExecutionPolicy(**parts)
    if not plain:
        raise TypeError(f"give either execution= or {', '.join(f'{name}=' for name in parts)}")
    return check_type(given, ExecutionPolicy, "execution")


def _resources(
    given: ResourceRequirements | None, cpu_millicores: int, memory_mib: int
) -> ResourceRequirements:
    default = _DEFAULT_RESOURCES
    plain = (cpu_millicores, memory_mib) == (default.cpu_millicores, default.memory_mib)
    if given is None and plain:
        return default
    if given is None:
        return ResourceRequirements(cpu_millicores=cpu_millicores, memory_mib=memory_mib)
    if not plain:
        raise TypeError("give either resources= or cpu_millicores= and memory_mib=")
    return check_type(given, ResourceRequirements, "resources")
