"""The entries of a lockfile, and the changes that keep them sound: one id, one key.

A change is made twice: on what a process has read, and again on what the file says when it is
saved, since another process may have written meanwhile. So each change says what it does when the
entry that it was meant for has moved or is gone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Self

from servo.types import AssetId


@dataclass(slots=True)
class Entries:
    """Ids by dotted key, and the renames that the code may not show yet.

    Attributes:
        ids: Dotted key to id; no id stands there twice.
        former: The keys that an asset had before, oldest first, for as long as its function may
            still have one of them, by its current key.
    """

    ids: dict[str, AssetId] = field(default_factory=dict)
    former: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _keys: dict[AssetId, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._keys = {asset_id: key for key, asset_id in self.ids.items()}

    def copy(self) -> Self:
        """Return entries that can be changed without these."""
        return type(self)(dict(self.ids), dict(self.former))

    def resolve(self, keys: Iterable[str]) -> dict[str, AssetId]:
        """Return the ids of those keys that have one.

        A key of the file means itself. A former key means the asset that was renamed, where the
        code does not have its new key yet.

        Args:
            keys: The keys that the code has.
        """
        present = set(keys)
        ids = self.ids
        found = {key: ids[key] for key in present if key in ids}
        if self.former:
            owner = {key: key for key in found}
            for key in sorted(present - found.keys()):
                self._claim(key, owner, present, set())
            found = {key: ids[entry] for key, entry in owner.items()}
        return found

    def _claim(
        self, key: str, owner: dict[str, str], present: Collection[str], tried: set[str]
    ) -> bool:
        """Find the entry that a key of the code means; entries make room for each other.

        After ``b`` was renamed to ``c`` and ``a`` to ``b``, code that still has ``a`` and ``b``
        means the two as they were.
        """
        for entry, names in self.former.items():
            if entry in tried or (key != entry and key not in names):
                continue
            tried.add(entry)
            held = next((name for name, holder in owner.items() if holder == entry), None)
            if held is None or self._claim(held, owner, present, tried):
                owner[key] = entry
                return True
        return False

    def renamed_to(self, key: str) -> str | None:
        """Return the current key of the asset that had a key before, if there is one."""
        return next((new for new, names in self.former.items() if key in names), None)

    # -- changes --------------------------------------------------------------------------

    def mint(self, key: str, asset_id: AssetId) -> None:
        """Give a key an id, unless it has one, had one before, or the id is taken."""
        if (
            key not in self.ids
            and self.renamed_to(key) is None
            and self._keys.setdefault(asset_id, key) == key
        ):
            self.ids[key] = asset_id

    def rename(self, old: str, new: str, *, replace: bool = False) -> None:
        """Give the id of one key to another, unless that has one of its own.

        Args:
            old: The key; nothing happens when it has no id any more.
            new: The other one.
            replace: Whether the id of ``new`` is given up.
        """
        if old not in self.ids or (new in self.ids and not replace):
            return
        self._drop(new)
        names = (*self.former.pop(old, ()), old)
        asset_id = self.ids[new] = self.ids.pop(old)
        self._keys[asset_id] = new
        self.former[new] = tuple(name for name in dict.fromkeys(names) if name != new)

    def assign(self, key: str, asset_id: AssetId) -> bool:
        """Give a key the id that the server has for it; tell whether that changed anything.

        Whatever is in the way goes.
        """
        holder = self._keys.get(asset_id)
        if holder == key or (holder is not None and key in self.former.get(holder, ())):
            return False
        if holder is not None:
            self._drop(holder)
        self._drop(key)
        self.ids[key] = asset_id
        self._keys[asset_id] = key
        self._forget(key)
        return True

    def settle(self, key: str, former: Iterable[str]) -> None:
        """Note that the code has a key, and not its former ones any more."""
        gone = set(former)
        asset = key if key in self.ids else self.renamed_to(key)
        if asset is None:
            return
        left = tuple(name for name in self.former.get(asset, ()) if name not in gone)
        if left:
            self.former[asset] = left
        else:
            self.former.pop(asset, None)

    def _drop(self, key: str) -> None:
        asset_id = self.ids.pop(key, None)
        if asset_id is not None:
            del self._keys[asset_id]
        self.former.pop(key, None)

    def _forget(self, key: str) -> None:
        """Let a key be no former key of another asset."""
        for asset in [asset for asset, names in self.former.items() if key in names]:
            self.settle(asset, [key])
