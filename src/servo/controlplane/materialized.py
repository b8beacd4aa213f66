"""What is materialised of the assets that plans and active runs read, in memory.

It is read from the store once for all that need it, and forgotten with the last of them. What runs
make meanwhile is added before it is durable: attempts that are given out next read it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from servo.controlplane.store.stored import CurrentMaterialization
from servo.types.partition_keys import PartitionKey
from servo.types.records import Materialization

__all__ = ["Current", "Hold", "MaterializedAssets"]

Current = dict[PartitionKey, CurrentMaterialization]
"""What is current in each partition of an asset."""

_ASSETS_AT_ONCE: Final = 256
"""Assets that are read in one piece: others who read the store wait for so long."""


@dataclass(frozen=True, slots=True, eq=False)
class Hold:
    """What keeps assets known until it is released.

    Attributes:
        asset_ids: The assets.
        epoch: Which reading of the state it belongs to.
    """

    asset_ids: tuple[str, ...]
    epoch: int

    def together_with(self, other: Hold) -> Hold:
        """Return a hold that is released in place of this one and another of the same epoch."""
        return Hold(self.asset_ids + other.asset_ids, self.epoch)


class MaterializedAssets:
    """What is materialised of some assets; see the module's docstring.

    Args:
        read: Reads what is durable of some assets from the store.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Mapping[str, Current]]]) -> None:
        self._read = read
        self._epoch = 0
        self._known: dict[str, Current] = {}
        self._holders: Counter[str] = Counter()
        self._not_durable: dict[str, Current] = {}
        # What was added since somebody began to read an asset: it may not be in what is read.
        self._added: dict[str, Current] = {}
        self._readers: Counter[str] = Counter()

    async def know(self, asset_ids: Iterable[str]) -> Hold:
        """Read what is materialised of some assets, where that is not known yet."""
        hold = Hold(tuple(dict.fromkeys(asset_ids)), self._epoch)
        self._holders.update(hold.asset_ids)
        try:
            missing = iter([one for one in hold.asset_ids if one not in self._known])
            while some := list(islice(missing, _ASSETS_AT_ONCE)):
                await self._learn(some, hold.epoch)
        except BaseException:  # also when who asked has gone away; raised again
            self.release(hold)
            raise
        return hold

    async def _learn(self, asset_ids: Sequence[str], epoch: int) -> None:
        for asset_id in asset_ids:
            self._added.setdefault(asset_id, dict(self._not_durable.get(asset_id, {})))
        self._readers.update(asset_ids)
        try:
            found = await self._read(asset_ids)
            if self._epoch == epoch:
                for asset_id in asset_ids:
                    current = {**found.get(asset_id, {}), **self._added[asset_id]}
                    self._known.setdefault(asset_id, current)
        finally:
            if self._epoch == epoch:
                _discount(self._readers, asset_ids, self._added)

    def is_valid(self, hold: Hold) -> bool:
        """Return whether what was known when a hold was taken is still what is known."""
        return hold.epoch == self._epoch

    def release(self, hold: Hold) -> None:
        """Forget what nobody else holds."""
        if self.is_valid(hold):
            _discount(self._holders, hold.asset_ids, self._known)

    def of(self, asset_id: str) -> Mapping[PartitionKey, CurrentMaterialization]:
        """Return what is materialised of an asset that is held."""
        return self._known.get(asset_id, {})

    def add(self, made: Materialization) -> None:
        """Take what was made, before it is durable."""
        now_current = CurrentMaterialization(made.materialization_id, made.has_data, made.path)
        self._not_durable.setdefault(made.asset_id, {})[made.partition_key] = now_current
        for place in (self._known, self._added):
            current = place.get(made.asset_id)
            if current is not None:
                current[made.partition_key] = now_current

    def is_durable(self, made: Materialization) -> None:
        """Take note that what was made is in the store now."""
        waiting = self._not_durable.get(made.asset_id, {})
        latest = waiting.get(made.partition_key)
        if latest is not None and latest.materialization_id == made.materialization_id:
            del waiting[made.partition_key]
            if not waiting:
                del self._not_durable[made.asset_id]

    def forget(self) -> None:
        """Forget everything: the state is read again, and what was not durable is lost."""
        self._epoch += 1
        for place in (self._known, self._holders, self._not_durable, self._added, self._readers):
            place.clear()


def _discount(users: Counter[str], asset_ids: Iterable[str], place: dict[str, Current]) -> None:
    """Count one user of each asset less, and forget what nobody uses any more."""
    for asset_id in asset_ids:
        users[asset_id] -= 1
        if not users[asset_id]:
            del users[asset_id]
            place.pop(asset_id, None)
