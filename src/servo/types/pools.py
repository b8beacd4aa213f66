"""Pools: how many attempts of different assets and runs may use something at once."""

from __future__ import annotations

from msgspec import Struct

from servo.types._frozen import check_int, check_name

__all__ = [
    "ListPoolsRequest",
    "ListPoolsResponse",
    "Pool",
    "SetPoolRequest",
    "SetPoolResponse",
]


class Pool(Struct, frozen=True, kw_only=True):
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


class ListPoolsRequest(Struct, frozen=True, kw_only=True):
    """Asks for the pools of the workspace."""


class ListPoolsResponse(Struct, frozen=True, kw_only=True):
    """The pools, sorted by name."""

    pools: tuple[Pool, ...] = ()


class SetPoolRequest(Struct, frozen=True, kw_only=True):
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


class SetPoolResponse(Struct, frozen=True, kw_only=True):
    """The pool after the change; without slots when it was removed."""

    pool: Pool
