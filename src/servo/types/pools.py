"""Pools: how many attempts of different assets and runs may use something at once."""

from __future__ import annotations

from dataclasses import dataclass

from servo.types._frozen import check_int, check_name

__all__ = [
    "ListPoolsRequest",
    "ListPoolsResponse",
    "Pool",
    "SetPoolRequest",
    "SetPoolResponse",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A pool of slots, shared by the whole workspace.

    Attributes:
        name: The name.
        slots: How many slots it has; 0 holds everything that needs it.
        used: How many are taken by leases that are out.
        waiting: How many ready tasks wait for it.
    """

    name: str
    slots: int = 0
    used: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPoolsRequest:
    """Asks for the pools of the workspace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListPoolsResponse:
    """The pools, sorted by name."""

    pools: tuple[Pool, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPoolRequest:
    """Asks to give a pool a size; ``slots=None`` removes it.

    Raises:
        ValueError: The name is malformed, or the size is negative.
    """

    name: str
    slots: int | None = None

    def __post_init__(self) -> None:
        check_name(self.name, "name of a pool")
        if self.slots is not None:
            check_int(self.slots, "slots", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetPoolResponse:
    """The pool after the change; without slots when it was removed."""

    pool: Pool
