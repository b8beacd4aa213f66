"""Partitions as people write and read them: ``date=2013-01-05``, ``2013-01-01..2013-01-31``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime

from servo import errors
from servo.cli import _output
from servo.types import calendar
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import PartitionDimension, TimeDimension
from servo.types.requests import AllPartitions, PartitionRange, PartitionSelection
from servo.types.scalars import PartitionDimensionValue


def value_text(value: PartitionDimensionValue) -> str:
    """Print one value of a partition key the way it is typed on the command line."""
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    if isinstance(value, date):
        return value.isoformat()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def key_text(key: PartitionKey) -> str:
    """Print a partition key, such as ``date=2013-01-05,tenant=acme``; empty for the empty key."""
    return ",".join(f"{name}={value_text(value)}" for name, value in key.dimensions.items())


def label(asset: AssetKey, partition: PartitionKey) -> str:
    """Name a task: ``staging.flights[date=2013-01-05]``, or the key alone without partitions."""
    text = key_text(partition)
    return f"{asset}[{text}]" if text else str(asset)


def selected(
    selection: Sequence[str], definitions: Iterable[AssetDefinition]
) -> tuple[AssetDefinition, ...]:
    """Return the definitions that are selected, sorted by key.

    Args:
        selection: Keys, globs, and what else `servo.types.selection` describes.
        definitions: All assets of the project.

    Raises:
        InvalidArgumentError: An expression cannot be read.
        NotFoundError: An expression names nothing.
    """
    from servo.controlplane.catalog import Catalog

    catalog = Catalog("", definitions, {})
    return tuple(catalog.assets[key] for key in catalog.select(selection))


def parse_selection(
    *,
    pairs: Sequence[str],
    span: str | None,
    every: bool,
    definitions: Sequence[AssetDefinition],
) -> PartitionSelection | None:
    """Combine ``--partition``, ``--partitions`` and ``--all-partitions``.

    Args:
        pairs: Texts ``dimension=value``.
        span: Text ``FIRST..LAST``, optionally ``dimension=FIRST..LAST``.
        every: Whether every declared partition is meant.
        definitions: The selected assets; their dimensions give the values their types.

    Raises:
        InvalidArgumentError: More than one of the three is given, a text cannot be read, or a
            dimension is unknown; the message shows the allowed ones.
    """
    if (bool(pairs) + (span is not None) + every) > 1:
        raise errors.InvalidArgumentError(
            "--partition, --partitions and --all-partitions exclude each other; give one of them"
        )
    if every:
        return AllPartitions()
    if span is not None:
        return _parse_range(span)
    return parse_key(pairs, definitions) if pairs else None


def parse_key(pairs: Sequence[str], definitions: Sequence[AssetDefinition]) -> PartitionKey:
    """Read the parts of a partition key.

    Args:
        pairs: Texts ``dimension=value``.
        definitions: Assets that have the partition; their dimensions give the values their types.

    Raises:
        InvalidArgumentError: A text cannot be read, or a dimension is unknown; the message shows
            the allowed ones.
    """
    values: dict[str, PartitionDimensionValue] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise errors.InvalidArgumentError(
                f"--partition {pair!r} cannot be read; write dimension=value, for example "
                f"date=2013-01-05"
            )
        if name in values:
            raise errors.InvalidArgumentError(f"--partition {name!r} is given more than once")
        values[name] = _parse_value(text, name, definitions)
    return PartitionKey(values)


def _parse_range(span: str) -> PartitionRange:
    head, dots, last = span.partition("..")
    dimension, equals, first = head.rpartition("=")
    if not dots or not first or not last or (equals and not dimension):
        raise errors.InvalidArgumentError(
            f"--partitions {span!r} cannot be read; write FIRST..LAST, for example "
            f"2013-01-01..2013-01-31, or dimension=FIRST..LAST"
        )
    return PartitionRange(dimension=dimension, first=first, last=last)


def _parse_value(
    text: str, name: str, definitions: Sequence[AssetDefinition]
) -> PartitionDimensionValue:
    declared: dict[str, list[PartitionDimension]] = {}
    for definition in definitions:
        for dimension in definition.partitioning.dimensions:
            declared.setdefault(dimension.name, []).append(dimension)
    if name not in declared:
        known = ", ".join(repr(item) for item in sorted(declared))
        raise errors.InvalidArgumentError(
            f"--partition {name}={text}: the selected assets have no dimension {name!r}; "
            + (f"they have {known}." if known else "none of them is partitioned.")
            + _output.did_you_mean(name, declared),
            code="UNKNOWN_DIMENSION",
        )
    problem: ValueError | None = None
    for dimension in declared[name]:
        if not isinstance(dimension, TimeDimension):
            return text
        try:
            index = calendar.parse_period(dimension.granularity, text)
        except ValueError as exc:
            # Assets may cut the same dimension differently: a day is no month, but may be meant.
            problem = problem or exc
        else:
            return calendar.period_value(dimension.granularity, index)
    raise errors.InvalidArgumentError(f"--partition {name}={text}: {problem}") from problem
