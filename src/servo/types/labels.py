"""Labels: how tasks and partitions are written for people, and read back from what people typed.

A label is ``namespace.name[dimension=value,...]``, its dimensions in the order in which the asset
declares them; an asset without partitions is its key alone. Everything that names a task uses these
functions, so that a name can be copied from any output into any command.

A value is written plainly where that reads back as the same value, and as a JSON string where it
would not: the empty text, text with a comma, a quote, a bracket, ``..`` or a character that cannot
be seen, and text that looks like a date. Integers, booleans and null, which no declared dimension
holds today, keep the tag of the contract (``i:7``, ``b:true``, ``n:``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple, Protocol, TypeVar

from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.scalars import PartitionDimensionValue, normalize, parse, render

__all__ = [
    "Labelled",
    "WrittenValue",
    "command",
    "find",
    "key_text",
    "label",
    "pair_text",
    "read_label",
    "read_pair",
    "run_command",
    "task_label",
    "value_text",
]

_is_everyday = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII).fullmatch
_is_tagged = re.compile(r"[sibdtn]:", re.ASCII).match
_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII).fullmatch
_is_time = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]{6})?Z", re.ASCII
).fullmatch
_needs_quotes = re.compile(r'[,"\[\]]|\.\.|\A\s|\s\Z').search
_match_name = re.compile(r"([a-z][a-z0-9_]*)=", re.ASCII).match
_match_quoted = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL).match
_read_json = json.JSONDecoder(strict=False).decode


class Labelled(Protocol):
    """What has a label: a task, or a materialization."""

    @property
    def asset_key(self) -> AssetKey:
        """The asset."""

    @property
    def partition_key(self) -> PartitionKey:
        """The partition, with its dimensions in declared order."""


_L = TypeVar("_L", bound=Labelled)


def command(*words: str) -> str:
    """Return a command of ``servo`` that a POSIX shell reads as exactly these words.

    Args:
        words: Its arguments, unquoted: ``("logs", run_id, "--task", label)``.
    """
    import shlex

    return shlex.join(("servo", *words))


def run_command(asset: AssetKey, partition: PartitionKey) -> str:
    """Return the command that materializes one partition."""
    words = ["run", str(asset)]
    for name, value in partition.dimensions.items():
        words += ["--partition", pair_text(name, value)]
    return command(*words)


def value_text(value: PartitionDimensionValue) -> str:
    """Write one value of a partition key the way it is typed on the command line."""
    if isinstance(value, str):
        if _is_everyday(value):
            return value
        return value if _reads_back(value) else _quoted(value)
    if isinstance(value, datetime):
        text = value.replace(tzinfo=None).isoformat(timespec="microseconds")
        return text.removesuffix(".000000") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    return render(*normalize(value))


def pair_text(name: str, value: PartitionDimensionValue) -> str:
    """Write a dimension and its value, as ``--partition`` takes them."""
    return f"{name}={value_text(value)}"


def key_text(key: PartitionKey) -> str:
    """Write a partition key, such as ``date=2013-01-05,region=north``; empty for the empty key."""
    return ",".join([pair_text(name, value) for name, value in key.dimensions.items()])


def label(asset: AssetKey, partition: PartitionKey) -> str:
    """Name a task or partition: ``staging.flights[date=2013-01-05]``.

    Args:
        asset: The asset.
        partition: Its partition, with the dimensions in declared order.
    """
    return f"{asset}[{key_text(partition)}]" if partition.dimensions else str(asset)


def task_label(task: Labelled) -> str:
    """Name a task, or whatever has an ``asset_key`` and a ``partition_key``."""
    return label(task.asset_key, task.partition_key)


class WrittenValue(NamedTuple):
    """A value as it was typed.

    Attributes:
        text: The text; without its quotes where it had some.
        is_quoted: Whether it was a JSON string, which is always a text and nothing else.
    """

    text: str
    is_quoted: bool = False

    def __str__(self) -> str:
        """Return the text as it was typed, with its quotes."""
        return _quoted(self.text) if self.is_quoted else self.text

    @property
    def value(self) -> PartitionDimensionValue:
        """The value that the text stands for where no dimension says which type it has."""
        return self.text if self.is_quoted else _plain(self.text)

    def fits(self, value: PartitionDimensionValue) -> bool:
        """Tell whether the text may mean a value, also in the spellings of older versions."""
        if value_text(self.value) == value_text(value):
            return True
        if self.is_quoted:
            return False
        if isinstance(value, str):
            return self.text == value or _percent_decoded(self.text) == value
        return self.text == ("null" if value is None else str(value).lower())


def read_pair(text: str) -> tuple[str, tuple[WrittenValue, ...]]:
    """Read ``dimension=value`` or ``dimension=value,value``.

    Args:
        text: What was typed.

    Raises:
        ValueError: It has another form.
    """
    match = _match_name(text)
    if match is None:
        raise ValueError("expected dimension=value")
    values, place = [], match.end()
    while True:
        value, place = _read_value(text, place)
        values.append(value)
        if place == len(text):
            return match[1], tuple(values)
        place += 1


def read_label(text: str) -> tuple[AssetKey, Mapping[str, WrittenValue]]:
    """Read a label: an asset key, and in brackets the values of its partition.

    Args:
        text: What was typed; ``namespace.name`` alone has no values.

    Raises:
        ValueError: It has another form, or names a dimension twice.
    """
    name, bracket, inner = text.partition("[")
    key = AssetKey.parse(name)
    if not bracket:
        return key, {}
    if not inner.endswith("]"):
        raise ValueError(f"{text!r} has no closing bracket")
    inner = inner[:-1]
    values: dict[str, WrittenValue] = {}
    place = 0
    while True:
        match = _match_name(inner, place)
        if match is None:
            raise ValueError(
                f"{text!r} cannot be read after {inner[:place]!r}: expected dimension=value"
            )
        if match[1] in values:
            raise ValueError(f"{text!r} has the dimension {match[1]!r} more than once")
        values[match[1]], place = _read_value(inner, match.end())
        if place == len(inner):
            return key, values
        place += 1


def find(text: str, tasks: Iterable[_L]) -> Sequence[_L]:
    """Return the tasks that a label names.

    A label as it is printed today names exactly one partition. Where none has it, dimensions may
    come in another order, dates and times be written otherwise, and values be spelled as older
    versions did: unquoted, or encoded with percent signs.

    Args:
        text: The key of an asset, which names all of its tasks, or a label.
        tasks: Where to look.
    """
    known = list(tasks)
    try:
        key, values = read_label(text)
    except ValueError:
        return [task for task in known if text in _older(task)]
    own = [task for task in known if task.asset_key == key]
    if not values:
        return own
    own = [task for task in own if task.partition_key.dimensions.keys() == values.keys()]
    exact = [
        task
        for task in own
        if all(
            value_text(value) == value_text(values[name].value)
            for name, value in task.partition_key.dimensions.items()
        )
    ]
    return exact or [
        task
        for task in known
        if text in _older(task)
        or (
            task in own
            and all(values[name].fits(v) for name, v in task.partition_key.dimensions.items())
        )
    ]


def _older(task: Labelled) -> tuple[str, str]:
    """Return how older versions named a task: unquoted, and in the form of its path."""
    plain = ",".join(
        f"{name}={value if isinstance(value, str) else value_text(value)}"
        for name, value in task.partition_key.dimensions.items()
    )
    path = task.partition_key.to_path().replace("/", ",")
    return f"{task.asset_key}[{plain}]", f"{task.asset_key}[{path}]"


def _read_value(text: str, place: int) -> tuple[WrittenValue, int]:
    match = _match_quoted(text, place)
    if match is not None and match.end() in (len(text), text.find(",", match.end())):
        try:
            found = _read_json(match[0])
            normalize(found)  # refuses half of a surrogate pair
        except ValueError as exc:
            raise ValueError(f"{match[0]} is not a JSON string: {exc}") from exc
        return WrittenValue(str(found), is_quoted=True), match.end()
    end = text.find(",", place)
    end = len(text) if end < 0 else end
    return WrittenValue(text[place:end]), end


def _plain(text: str) -> PartitionDimensionValue:
    """Return the value of unquoted text."""
    try:
        if _is_date(text):
            return date.fromisoformat(text)
        if found := _is_time(text):
            return parse(f"t:{found[1]}{found[2] or '.000000'}Z")[1]
        if _is_tagged(text):
            return parse(text)[1]
    except ValueError:
        pass
    return text


def _reads_back(text: str) -> bool:
    return bool(text) and text.isprintable() and not _needs_quotes(text) and _plain(text) == text


def _quoted(text: str) -> str:
    """Return a JSON string in which nothing is invisible, and nothing moves a cursor."""
    quoted = json.dumps(text, ensure_ascii=False)
    if quoted.isprintable():
        return quoted
    return "".join([c if c.isprintable() else json.dumps(c)[1:-1] for c in quoted])


def _percent_decoded(text: str) -> str:
    if "%" not in text:
        return text
    from urllib.parse import unquote

    return unquote(text)
