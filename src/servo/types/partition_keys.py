"""Partition keys: which slice of an asset, as typed values by dimension name."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

from servo.types._frozen import EMPTY_MAP, FrozenMap, check_name
from servo.types.scalars import PartitionDimensionValue, ScalarKind, normalize, parse, render

__all__ = ["PartitionKey"]

_MAX_ENCODED_VALUE: Final = 200
_KEPT_OF_LONG_VALUE: Final = 150
_MAX_NAME_IN_PATH: Final = 54
_KEPT_OF_LONG_NAME: Final = 21
_DIGEST_DIGITS: Final = 32
_NULL_IN_PATH: Final = "__null__"

_unsafe_in_path = re.compile(r"[^A-Za-z0-9_.-]", re.ASCII)
_quote: Callable[[str], str] = json.JSONEncoder(ensure_ascii=False).encode


class PartitionKey:
    """An immutable set of typed dimension values; the empty key means "the whole asset".

    Keys are equal, hash and sort by their canonical form, so ``1``, ``True`` and ``"1"`` are
    three different values.

    Args:
        dimensions: Value by dimension name. Values are ``str``, ``int``, ``bool``, ``date``,
            ``datetime`` (kept in UTC) or ``None``.

    Raises:
        TypeError: A name is no string, or a value has a type that no partition can have.
        ValueError: A name is malformed, or a value is a float or out of range; the message
            names the dimension.
    """

    __slots__ = ("_canonical", "_dimensions")

    _dimensions: Mapping[str, PartitionDimensionValue]
    _canonical: str

    def __init__(self, dimensions: Mapping[str, object] | None = None) -> None:
        values: dict[str, PartitionDimensionValue] = {}
        tagged: dict[str, str] = {}
        if dimensions is not None:
            if not isinstance(dimensions, Mapping):
                raise TypeError(
                    f"a partition key is made from a mapping of dimension names to values, "
                    f"got {dimensions!r}"
                )
            for name, value in dimensions.items():
                check_name(name, "dimension name")
                kind, plain = normalize(value, name)
                values[name] = plain
                tagged[name] = render(kind, plain)
        self._fill(values, tagged)

    def _fill(self, values: dict[str, PartitionDimensionValue], tagged: dict[str, str]) -> None:
        body = ",".join([f'"{name}":{_quote(tagged[name])}' for name in sorted(tagged)])
        object.__setattr__(self, "_dimensions", FrozenMap(values) if values else EMPTY_MAP)
        object.__setattr__(self, "_canonical", f"{{{body}}}")

    @classmethod
    def _trusted(
        cls, dimensions: dict[str, PartitionDimensionValue], canonical: str
    ) -> PartitionKey:
        # For partition sets, which make many keys out of values they have checked once.
        key = object.__new__(PartitionKey)
        object.__setattr__(key, "_dimensions", FrozenMap(dimensions))
        object.__setattr__(key, "_canonical", canonical)
        return key

    @property
    def dimensions(self) -> Mapping[str, PartitionDimensionValue]:
        """Read-only values by dimension name, in the order in which they were given."""
        return self._dimensions

    def in_order(self, names: Iterable[str]) -> PartitionKey:
        """Return the key with its dimensions in another order, that of the asset.

        Args:
            names: Names in declared order. Those that the key lacks are left out; dimensions that
                are not among them come last, by name.
        """
        own = self._dimensions
        if len(own) < 2:
            return self
        order = [name for name in names if name in own]
        order += sorted(own.keys() - set(order))
        if order == list(own):
            return self
        return PartitionKey._trusted({name: own[name] for name in order}, self._canonical)

    def to_proto_dict(self) -> dict[str, str]:
        """Return tagged strings by dimension name, sorted by name."""
        found: dict[str, str] = json.loads(self._canonical)
        return found

    @classmethod
    def from_proto_dict(cls, dimensions: Mapping[str, str]) -> Self:
        """Read tagged strings by dimension name; the inverse of ``to_proto_dict``.

        Raises:
            TypeError: A name or a value is no string.
            ValueError: A name is malformed or a value is not in canonical form; the message
                names the dimension.
        """
        values: dict[str, PartitionDimensionValue] = {}
        tagged: dict[str, str] = {}
        for name, text in dimensions.items():
            check_name(name, "dimension name")
            try:
                _, values[name] = parse(text)
            except ValueError as exc:
                raise ValueError(f"dimension {name!r}: {exc}") from exc
            tagged[name] = str.__str__(text)
        key = object.__new__(cls)
        key._fill(values, tagged)
        return key

    def to_canonical(self) -> str:
        """Return the JSON object of tagged strings, sorted, without white space."""
        return self._canonical

    @classmethod
    def from_canonical(cls, text: str) -> Self:
        """Read the canonical form.

        Raises:
            ValueError: The text is not exactly what ``to_canonical`` prints for some key.
        """
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise ValueError(f"Invalid partition key {text!r}: not JSON ({exc})") from exc
        if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
            raise ValueError(
                f"Invalid partition key {text!r}: expected an object of tagged strings such as "
                f'{{"date":"d:2025-01-15"}}'
            )
        key = cls.from_proto_dict(found)
        if key._canonical != text:
            raise ValueError(
                f"Partition key {text!r} is not in canonical form: expected {key._canonical!r}"
            )
        return key

    def fingerprint(self) -> str:
        """Return the SHA-256 of the canonical form, 64 lower-case hex digits."""
        return _sha256(self._canonical)

    def to_path(self, order: Iterable[str] | None = None) -> str:
        """Print the key as a Hive-style directory, such as ``date=2025-01-15/tenant=acme``.

        Args:
            order: Dimension names in the order in which the asset declares them; sorted by
                name when left out.

        Returns:
            A relative path with ``/`` separators that cannot leave its directory; empty for
            the empty key. No component is longer than 255 bytes.

        Raises:
            ValueError: ``order`` does not name exactly the key's dimensions.
        """
        names = sorted(self._dimensions) if order is None else list(order)
        if sorted(names) != sorted(self._dimensions):
            raise ValueError(
                f"the order {names!r} must name exactly the key's dimensions "
                f"{sorted(self._dimensions)!r}"
            )
        return "/".join(
            f"{_path_name(name)}={_path_value(self._dimensions[name])}" for name in names
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PartitionKey):
            return NotImplemented
        return self._canonical == other._canonical

    def __hash__(self) -> int:
        return hash(self._canonical)

    def __lt__(self, other: PartitionKey) -> bool:
        if not isinstance(other, PartitionKey):
            return NotImplemented
        return self._canonical < other._canonical

    def __le__(self, other: PartitionKey) -> bool:
        if not isinstance(other, PartitionKey):
            return NotImplemented
        return self._canonical <= other._canonical

    def __gt__(self, other: PartitionKey) -> bool:
        if not isinstance(other, PartitionKey):
            return NotImplemented
        return self._canonical > other._canonical

    def __ge__(self, other: PartitionKey) -> bool:
        if not isinstance(other, PartitionKey):
            return NotImplemented
        return self._canonical >= other._canonical

    def __repr__(self) -> str:
        return f"PartitionKey({dict(self._dimensions)!r})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name!r}: a PartitionKey is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name!r}: a PartitionKey is immutable")

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, PartitionDimensionValue]]]:
        return type(self), (dict(self._dimensions),)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def _path_name(name: str) -> str:
    if len(name) <= _MAX_NAME_IN_PATH:
        return name
    return f"{name[:_KEPT_OF_LONG_NAME]}~{_digest(name)}"


def _path_value(value: PartitionDimensionValue) -> str:
    kind, plain = normalize(value)
    tagged = render(kind, plain)
    if kind is ScalarKind.NULL:
        return _NULL_IN_PATH
    if plain == _NULL_IN_PATH:
        return "%5F_null__"
    encoded = _unsafe_in_path.sub(_percent, tagged[2:])
    if len(encoded) <= _MAX_ENCODED_VALUE:
        return encoded
    return f"{encoded[:_KEPT_OF_LONG_VALUE]}~{_digest(tagged)}"


def _percent(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())


def _digest(text: str) -> str:
    return _sha256(text)[:_DIGEST_DIGITS]


def _sha256(text: str) -> str:
    # Loading OpenSSL takes longer than the rest of this module, and few processes hash keys.
    from hashlib import sha256

    return sha256(text.encode()).hexdigest()
