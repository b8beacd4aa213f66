"""Partitions as people write and read them: ``date=2013-01-05``, ``2013-01-01..2013-01-31``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from servo import errors
from servo.cli import _output
from servo.types import calendar, labels
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey
from servo.types.labels import WrittenValue
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import PartitionDimension, StaticDimension, TimeDimension
from servo.types.requests import (
    AllPartitions,
    DimensionSelection,
    PartitionProduct,
    PartitionRange,
    PartitionSelection,
    PeriodRange,
)
from servo.types.scalars import PartitionDimensionValue


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
        pairs: Texts ``dimension=value``, of which the value may be a list ``value,value`` and, for
            time dimensions, have ranges ``FIRST..LAST`` in it.
        span: Text ``FIRST..LAST``, optionally ``dimension=FIRST..LAST``.
        every: Whether dimensions that are not named take every declared value.
        definitions: The selected assets; their dimensions give the values their types.

    Raises:
        InvalidArgumentError: A dimension is selected twice, a text cannot be read, or a dimension
            is unknown or missing; the message shows what is possible.
    """
    if span is not None and every:
        raise errors.InvalidArgumentError(
            "--partitions and --all-partitions exclude each other: a range is part of all of them; "
            "give one of the two"
        )
    if not pairs:
        if every:
            return AllPartitions()
        return None if span is None else _parse_range(span)
    selected = _by_dimension(pairs, definitions)
    is_one = not every and span is None
    if is_one and all(len(item.values) == 1 and not item.ranges for item in selected.values()):
        return parse_key(pairs, definitions)
    dimensions = [selected[name] for name in sorted(selected)]
    if span is not None:
        dimensions.append(_beside(_parse_range(span), selected, definitions))
    if is_one:
        _require_every_dimension(selected, definitions)
    return PartitionProduct(dimensions=tuple(dimensions), others=not is_one)


def _by_dimension(
    pairs: Sequence[str], definitions: Sequence[AssetDefinition]
) -> dict[str, DimensionSelection]:
    found: dict[str, DimensionSelection] = {}
    for pair in pairs:
        name, written = _listed_pair(pair, definitions)
        if name in found:
            raise errors.InvalidArgumentError(
                f"--partition {name!r} is given more than once; list the values in one: "
                f"--partition {name}=VALUE,VALUE"
            )
        dimensions = _declared(name, written[0].text, definitions)
        values, ranges = [], []
        for value in written:
            ends = value.text.split("..")
            if isinstance(dimensions[0], TimeDimension) and len(ends) == 2:
                for end in ends:
                    _parse_value(WrittenValue(end), name, definitions)
                ranges.append(PeriodRange(first=ends[0], last=ends[1]))
            else:
                typed = _parse_value(value, name, definitions)
                values.append(typed if isinstance(typed, str) else value.text)
        found[name] = DimensionSelection(dimension=name, values=tuple(values), ranges=tuple(ranges))
    return found


def _listed_pair(
    pair: str, definitions: Sequence[AssetDefinition]
) -> tuple[str, Sequence[WrittenValue]]:
    """Read ``dimension=value,...``; a declared value that has commas may stand unquoted."""
    name, values = _read_pair(pair)
    if len(values) > 1:
        whole = pair[len(name) + 1 :]
        declared = {
            value
            for definition in definitions
            for item in definition.partitioning.dimensions
            if item.name == name and isinstance(item, StaticDimension)
            for value in item.values
        }
        if whole in declared and not all(value.text in declared for value in values):
            return name, (WrittenValue(whole, is_quoted=True),)
    return name, values


def _beside(
    span: PartitionRange,
    selected: Mapping[str, DimensionSelection],
    definitions: Sequence[AssetDefinition],
) -> DimensionSelection:
    """Return a range that is combined with what is selected of other dimensions."""
    times = {d.name for item in definitions for d in item.partitioning.time_dimensions}
    name = span.dimension or (next(iter(times)) if len(times) == 1 else "")
    if not times:
        raise errors.InvalidArgumentError(
            "--partitions is a range of a time dimension, and the selected assets have none"
        )
    if name in selected:
        raise errors.InvalidArgumentError(
            f"the dimension {name!r} is selected by both --partition and --partitions; give one of "
            f"them, or list values and ranges together: --partition {name}=VALUE,FIRST..LAST"
        )
    if span.dimension:
        _declared(span.dimension, f"{span.first}..{span.last}", definitions)
    return DimensionSelection(
        dimension=span.dimension, ranges=(PeriodRange(first=span.first, last=span.last),)
    )


def _require_every_dimension(
    selected: Mapping[str, DimensionSelection], definitions: Sequence[AssetDefinition]
) -> None:
    for definition in definitions:
        for dimension in definition.partitioning.dimensions:
            if dimension.name not in selected:
                is_time = isinstance(dimension, TimeDimension)
                raise errors.InvalidArgumentError(
                    f"asset {str(definition.key)!r} has the dimension {dimension.name!r} as well; "
                    f"add --partition {dimension.name}=VALUE"
                    + (", --partitions FIRST..LAST" if is_time else "")
                    + ", or --all-partitions for every value of what is not named",
                    code="INVALID_PARTITION",
                )


def parse_key(pairs: Sequence[str], definitions: Sequence[AssetDefinition]) -> PartitionKey:
    """Read the parts of a partition key.

    Args:
        pairs: Texts ``dimension=value``.
        definitions: Assets that have the partition; their dimensions give the values their types.

    Raises:
        InvalidArgumentError: A text cannot be read, or a dimension is unknown; the message shows
            the allowed ones.
    """
    written: dict[str, WrittenValue] = {}
    for pair in pairs:
        name, value = _pair(pair)
        if name in written:
            raise errors.InvalidArgumentError(f"--partition {name!r} is given more than once")
        written[name] = value
    return key_of(written, definitions)


def key_of(
    written: Mapping[str, WrittenValue], definitions: Sequence[AssetDefinition]
) -> PartitionKey:
    """Give typed values their types, in the order in which the assets declare their dimensions.

    Args:
        written: Values by dimension, as they were typed.
        definitions: Assets that have the partition; their dimensions give the values their types.

    Raises:
        InvalidArgumentError: A dimension is unknown, or no asset can have such a value.
    """
    values = {name: _parse_value(value, name, definitions) for name, value in written.items()}
    order = [name for item in definitions for name in item.partitioning.dimension_names]
    return PartitionKey(values).in_order(dict.fromkeys(order))


def parse_label(
    text: str, definition_of: Callable[[AssetKey], AssetDefinition]
) -> tuple[AssetKey, PartitionKey]:
    """Read the label of a partition, as every command prints it.

    Args:
        text: ``namespace.name[dimension=value,...]``.
        definition_of: Finds the definition of an asset, which gives the values their types.

    Raises:
        InvalidArgumentError: It has another form, or the asset has no such dimension.
    """
    try:
        key, written = labels.read_label(text)
    except ValueError as exc:
        # Before there were quotes, whatever stood in a value was printed as it is.
        name, _, inner = text.partition("[")
        try:
            key = AssetKey.parse(name)
        except ValueError:
            raise errors.InvalidArgumentError(str(exc)) from exc
        definition = definition_of(key)
        if len(definition.partitioning.dimensions) != 1 or not text.endswith("]"):
            raise errors.InvalidArgumentError(str(exc)) from exc
        return key, parse_key([inner[:-1]], [definition])
    return key, key_of(written, [definition_of(key)])


def labelled(
    selection: Sequence[str], pairs: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Take a label that stands in place of a selection apart: the key, and its ``--partition``.

    Args:
        selection: What was given to select assets.
        pairs: What was given as ``--partition``.

    Returns:
        Both as they were, where there is no label: ``[`` in a selection is part of a glob.

    Raises:
        InvalidArgumentError: A label stands beside something else.
    """
    names = [text for text in selection if is_label(text)]
    if not names:
        return tuple(selection), tuple(pairs)
    if len(selection) > 1 or pairs:
        raise errors.InvalidArgumentError(
            f"{names[0]!r} names one partition; give it alone, or select assets and name the "
            f"partitions by --partition"
        )
    key, written = labels.read_label(names[0])
    return (str(key),), tuple(f"{name}={value}" for name, value in written.items())


def is_label(text: str) -> bool:
    """Tell whether a text is the label of a partition, ``namespace.name[dimension=value]``."""
    try:
        return bool(labels.read_label(text)[1])
    except ValueError:
        return False


def _read_pair(pair: str) -> tuple[str, Sequence[WrittenValue]]:
    try:
        return labels.read_pair(pair)
    except ValueError as exc:
        raise errors.InvalidArgumentError(
            f"--partition {pair!r} cannot be read: {exc}; write dimension=value, for example "
            f"date=2013-01-05"
        ) from exc


def _pair(pair: str) -> tuple[str, WrittenValue]:
    name, values = _read_pair(pair)
    if len(values) == 1:
        return name, values[0]
    # Before there were quotes, a comma was part of the value.
    return name, WrittenValue(pair[len(name) + 1 :])


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
    written: WrittenValue, name: str, definitions: Sequence[AssetDefinition]
) -> PartitionDimensionValue:
    text = written.text
    problem: ValueError | None = None
    for dimension in _declared(name, text, definitions):
        if not isinstance(dimension, TimeDimension):
            return _static_value(written, dimension)
        try:
            index = dimension.period(text)
        except ValueError as exc:
            # Assets may cut the same dimension differently: a day is no month, but may be meant.
            problem = problem or exc
        else:
            return calendar.period_value(dimension.granularity, index)
    raise errors.InvalidArgumentError(f"--partition {name}={text}: {problem}") from problem


def _declared(
    name: str, text: str, definitions: Sequence[AssetDefinition]
) -> Sequence[PartitionDimension]:
    """Return the dimensions of that name, at least one."""
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
    return declared[name]


def _static_value(written: WrittenValue, dimension: PartitionDimension) -> str:
    """Return the text of a value; what older versions printed is understood as well."""
    if not written.is_quoted and isinstance(dimension, StaticDimension):
        if written.text in dimension.values:
            return written.text
        meant = [value for value in dimension.values if written.fits(value)]
        if len(meant) == 1:
            return meant[0]
    return written.text
