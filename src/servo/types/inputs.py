"""What an asset's function receives and returns: ``AssetIn`` and ``AssetOut``."""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeGuard,
    TypeVar,
    get_args,
    get_origin,
    overload,
)

from servo.types._frozen import EMPTY_MAP, check_int, set_field, text_map
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey

__all__ = ["AssetIn", "AssetOut", "InputReader", "get_asset_in_key", "is_asset_in_type"]

K = TypeVar("K")
T = TypeVar("T")
D_co = TypeVar("D_co", covariant=True)


class InputReader(Protocol):
    """Reads what upstream partitions wrote; given to ``AssetIn`` by whoever runs the function."""

    def read(
        self,
        as_type: type | None,
        *,
        columns: Sequence[str] | None = None,
        filter: Any = None,
    ) -> Any:
        """Return the data as ``as_type``, or in the reader's own form when it is ``None``.

        Only ``columns``, and only the rows for which ``filter`` holds; all when left out.
        """
        ...


_cache: dict[tuple[AssetKey, Any], type[AssetIn[Any]]] = {}
_cache_lock = threading.Lock()


class _AssetInType(type):
    """Makes ``AssetIn["raw.events"]`` a class of its own, the same one for the same key."""

    def __getitem__(cls, item: Any) -> Any:
        if getattr(cls, "key", None) is not None:
            raise TypeError(f"{cls.__name__} names an asset already and cannot be subscripted")
        text, as_type = item if type(item) is tuple and len(item) == 2 else (item, None)
        key = _parse_key(text)
        found = _cache.get((key, as_type))
        if found is not None:
            return found
        if as_type is not None and not isinstance(as_type, type):
            raise TypeError(f"AssetIn[{text!r}, {as_type!r}]: the second part must be a class")
        suffix = "" if as_type is None else f", {as_type.__qualname__}"
        made: Any = _AssetInType(
            f'AssetIn["{key}"{suffix}]',
            (cls,),
            {"__slots__": (), "__module__": cls.__module__, "key": key, "as_type": as_type},
        )
        with _cache_lock:
            return _cache.setdefault((key, as_type), made)

    def __repr__(cls) -> str:
        return cls.__name__


if TYPE_CHECKING:

    class AssetIn(Generic[K], metaclass=_AssetInType):
        """A lazy handle on an upstream asset; see the runtime class."""

        key: ClassVar[AssetKey]
        as_type: ClassVar[type | None]
        partitions: tuple[PartitionKey, ...]

        def __init__(
            self, reader: InputReader, *, partitions: tuple[PartitionKey, ...] = ()
        ) -> None: ...
        @overload
        def read(self) -> Any: ...
        @overload
        def read(self, as_type: type[T]) -> T: ...
        def read(self, as_type: type[T] | None = None) -> T | Any:
            """Read the data of all ``partitions``."""

else:

    class AssetIn(metaclass=_AssetInType):
        """A lazy handle on an upstream asset.

        ``AssetIn["raw.events"]`` is a class: annotate a parameter with it to depend on the
        asset, and receive an instance. ``AssetIn[Literal["raw.events"]]`` is the same class,
        spelled for type checkers; ``AssetIn["raw.events", pl.DataFrame]`` says how the data
        should arrive.

        Args:
            reader: What reads the data.
            partitions: The upstream partitions that it reads.

        Attributes:
            key: The upstream asset.
            as_type: Class in which ``read`` returns data unless told otherwise.
            partitions: The upstream partitions that ``read`` returns.

        Raises:
            ValueError: The key is malformed; raised when subscripted.
            TypeError: Something else than a key is subscripted, or the bare ``AssetIn`` is
                instantiated.
        """

        __slots__ = ("_reader", "partitions")

        key = None
        as_type = None

        def __init__(self, reader, *, partitions=()):
            if self.key is None:
                raise TypeError('name the asset: AssetIn["namespace.name"](...)')
            self._reader = reader
            self.partitions = tuple(partitions)

        def read(self, as_type=None, *, columns=None, filter=None):
            """Read the data.

            Args:
                as_type: Class to return, such as ``pl.DataFrame``; the annotated one, or the
                    reader's own form, when left out.
                columns: Names of the columns to read; all when left out.
                filter: A ``pyarrow.compute.Expression`` that selects rows.

            Returns:
                The rows of all ``partitions``.
            """
            wanted = self.as_type if as_type is None else as_type
            if columns is None and filter is None:
                return self._reader.read(wanted)
            return self._reader.read(wanted, columns=columns, filter=filter)

        def __repr__(self):
            count = len(self.partitions)
            return f"<{type(self).__name__} with {count} partition{'' if count == 1 else 's'}>"


@dataclass(frozen=True, slots=True)
class AssetOut(Generic[D_co]):
    """What a function returns when it wants to say more than the data.

    Attributes:
        data: The rows: a table, a frame, a list of dicts or a path.
        schema: Schema the data must have, or ``None`` to take what it has.
        row_count: Number of rows, or ``None`` when it cannot be told without reading them.
        metadata: Free text by name, kept with the materialisation.
    """

    data: D_co
    _: KW_ONLY
    schema: object = None
    row_count: int | None = None
    metadata: Mapping[str, str] = EMPTY_MAP

    def __post_init__(self) -> None:
        if self.row_count is not None:
            check_int(self.row_count, "row_count", minimum=0)
        set_field(self, "metadata", text_map(self.metadata, "metadata"))


def _reduce(kind: Any) -> str | tuple[Any, ...]:
    if getattr(kind, "key", None) is None:
        return "AssetIn"
    return _subscript, (kind.key, kind.as_type)


def _subscript(key: AssetKey, as_type: type | None) -> Any:
    subscripted: Any = AssetIn
    return subscripted[key if as_type is None else (key, as_type)]


# A class is pickled by its name, which is none that could be looked up.
copyreg.pickle(_AssetInType, _reduce)


def is_asset_in_type(annotation: object) -> TypeGuard[type[AssetIn[Any]]]:
    """Tell whether an annotation is ``AssetIn[...]`` with a key."""
    return type(annotation) is _AssetInType and getattr(annotation, "key", None) is not None


def get_asset_in_key(annotation: object) -> AssetKey | None:
    """Return the key of an ``AssetIn[...]`` annotation, or ``None`` for anything else."""
    return annotation.key if is_asset_in_type(annotation) else None


def _parse_key(item: object) -> AssetKey:
    if get_origin(item) is Literal:
        arguments = get_args(item)
        if len(arguments) != 1:
            raise TypeError(f"AssetIn[{item!r}]: name exactly one asset")
        item = arguments[0]
    if isinstance(item, AssetKey):
        return item
    if not isinstance(item, str):
        raise TypeError(f"AssetIn[{item!r}]: expected an asset key such as AssetIn['raw.events']")
    return AssetKey.parse(item)
