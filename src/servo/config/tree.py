"""Layers as trees, and their merge.

A tree holds what one or several layers say, before anybody has asked whether it makes sense. Where
two layers say something of one key both are kept, the higher one last, so that a merged tree still
knows which layer won and what it beat.

`merge` is a monoid: `EMPTY` is its identity, and it is associative, errors included. That is why a
table never replaces a value nor a value a table: ``{a: 1}``, then ``{a: {b: 2}}``, then ``{a: {c:
3}}`` would depend on which two were merged first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Final, TypeAlias

from servo import errors


class Layer(IntEnum):
    """The layers above the defaults; a greater one wins."""

    PYPROJECT = 1
    SERVO_TOML = 2
    PROFILE = 3
    DOTENV = 4
    ENVIRONMENT = 5
    COMMAND_LINE = 6
    ARGUMENTS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A value that one layer gives to one key.

    Attributes:
        value: As it was read; never shown, because it may be a secret.
        layer: The layer.
        source: The layer, in the words of `servo.config.Origin`.
        place: Key and layer, for messages: ``'timeout' in servo.toml``.
        base: Directory to which a relative path in it refers; ``None`` for the current one.
    """

    value: object = field(repr=False)
    layer: Layer
    source: str
    place: str
    base: Path | None = None

    @property
    def is_text(self) -> bool:
        """Whether the layer knows text only, so that a number is still to be read from it."""
        return self.layer in (Layer.DOTENV, Layer.ENVIRONMENT)

    @property
    def is_committed(self) -> bool:
        """Whether the layer is a file that is usually committed."""
        return self.layer <= Layer.PROFILE


Leaf: TypeAlias = tuple[Candidate, ...]
"""What the layers say about one key, the highest layer last."""


@dataclass(frozen=True, slots=True)
class Table:
    """Keys below one key.

    Attributes:
        children: Key to table or leaf.
        places: Where the table is written, for messages, the highest layer last.
    """

    children: Mapping[str, Table | Leaf] = field(default_factory=dict)
    places: tuple[str, ...] = ()

    def leaves(self) -> Iterator[tuple[tuple[str, ...], Leaf]]:
        """Yield the path of every leaf, and the leaf."""
        pending: list[tuple[tuple[str, ...], Table]] = [((), self)]
        while pending:
            path, table = pending.pop()
            for key, child in table.children.items():
                if isinstance(child, Table):
                    pending.append(((*path, key), child))
                else:
                    yield (*path, key), child


EMPTY: Final = Table()


def single(path: tuple[str, ...], candidate: Candidate) -> Table:
    """Make the tree that holds one value."""
    return _planted(path, (candidate,), candidate.place)


def empty_table(path: tuple[str, ...], place: str) -> Table:
    """Make the tree that holds one table without keys, written in ``place``."""
    return _planted(path, Table({}, (place,)), place)


def _planted(path: tuple[str, ...], node: Table | Leaf, place: str) -> Table:
    *above, last = path
    tree = Table({last: node})
    for key in reversed(above):
        tree = Table({key: Table(tree.children, (place,))})
    return tree


def merge(low: Table, high: Table, path: tuple[str, ...] = ()) -> Table:
    """Lay one tree over another.

    Args:
        low: The layer that loses.
        high: The layer that wins.
        path: Where both lie, for messages.

    Raises:
        ConfigurationError: One has a table where the other has a value.
    """
    children = dict(low.children)
    for key, above in high.children.items():
        below = children.get(key)
        if below is None:
            children[key] = above
        elif isinstance(below, Table) and isinstance(above, Table):
            children[key] = merge(below, above, (*path, key))
        elif isinstance(below, tuple) and isinstance(above, tuple):
            children[key] = (*below, *above)
        else:
            raise _clash((*path, key), below, above)
    return Table(children, (*low.places, *high.places))


def _clash(
    path: tuple[str, ...], below: Table | Leaf, above: Table | Leaf
) -> errors.ConfigurationError:
    table, value = (below, above) if isinstance(below, Table) else (above, below)
    assert isinstance(table, Table)
    assert isinstance(value, tuple)
    name = ".".join(path)
    return errors.ConfigurationError(
        f"{name!r} is a table because of {table.places[-1] if table.places else 'one layer'} and a "
        f"value because of {value[-1].place}; it can only be one of them, so remove the other",
        context={"key": name},
    )
