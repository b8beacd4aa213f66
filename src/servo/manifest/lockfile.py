"""The lockfile ``.servo/state.json``: which id belongs to which asset key.

An asset is its id, not its name, so losing this file would duplicate every asset. It is therefore
written atomically under a lock between processes, merged with what others wrote meanwhile, and
never replaced when it cannot be read (`servo.manifest._lockfile_text`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from operator import methodcaller
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

from servo import errors
from servo.manifest import atomic, private
from servo.manifest._file_lock import exclusive
from servo.manifest._lockfile_entries import Entries
from servo.manifest._lockfile_text import parse_doubled, parse_lockfile, print_lockfile
from servo.types import AssetId, AssetKey

__all__ = ["Lockfile"]

_STATE_DIRECTORY: Final = ".servo"


class Lockfile:
    """Ids by asset key: what the file holds and what was added since it was read.

    Args:
        asset_ids: Dotted key to id.
        path: Where `save` writes by default.
        frozen: Whether a key without an id is an error instead of getting a new one.
    """

    def __init__(
        self,
        asset_ids: Mapping[str, str] | None = None,
        *,
        path: Path | None = None,
        frozen: bool = False,
    ) -> None:
        self.path = path
        self.frozen = frozen
        self._base = Entries({key: AssetId(text) for key, text in (asset_ids or {}).items()})
        self._entries = self._base.copy()
        # What this process decided and the file may not know yet; `save` does it again there.
        self._changes: list[Callable[[Entries], object]] = []

    @classmethod
    def load(cls, path: str | Path, *, frozen: bool = False) -> Self:
        """Read a lockfile; one that does not exist is empty.

        Raises:
            LockfileError: It exists and cannot be read, or does not hold what it should; the
                message names file and line and says what to do.
        """
        path = Path(path)
        found = cls(path=path, frozen=frozen)
        found._base = _read(path) or Entries()
        found._entries = found._base.copy()
        return found

    @property
    def asset_ids(self) -> Mapping[str, AssetId]:
        """Dotted key to id; a read-only view. An asset that was renamed has its new key."""
        return MappingProxyType(self._entries.ids)

    @property
    def former_keys(self) -> Mapping[str, tuple[str, ...]]:
        """Assets that were renamed and whose functions may not be yet: key to former keys."""
        return MappingProxyType(self._entries.former)

    @property
    def changed(self) -> bool:
        """Whether `save` has something to write."""
        return bool(self._changes)

    def renamed_to(self, key: AssetKey | str) -> str | None:
        """Return the new key of an asset that was renamed here and whose function may not be."""
        return self._entries.renamed_to(str(key))

    def _change(self, change: Callable[[Entries], object]) -> None:
        change(self._entries)
        self._changes.append(change)

    def resolve(self, keys: Iterable[AssetKey | str]) -> dict[str, AssetId]:
        """Return the ids of those assets that have one, by the keys that the code has.

        An asset that was renamed here is found by its former key for as long as the code does not
        have the new one.

        Args:
            keys: All the keys that the code has.

        Raises:
            DefinitionError: An asset was renamed, and the code has both its new and its former
                key.
        """
        present = {str(key) for key in keys}
        found = self._entries.resolve(present)
        if self._entries.former:
            for key in sorted(present - found.keys()):
                if (new := self._entries.renamed_to(key)) is not None:
                    raise errors.DefinitionError(
                        f"{key!r} was renamed to {new!r}, but {key!r} still exists beside it; "
                        f"remove one of the two functions. If {key!r} is to keep the history, take "
                        f"the rename back: servo asset rename {new} {key}",
                        code="RENAMED_ASSET_EXISTS",
                        context={"old": key, "new": new},
                    )
        return found

    def missing(self, keys: Iterable[AssetKey | str]) -> list[str]:
        """Return the dotted keys that have no id, sorted."""
        present = {str(key) for key in keys}
        return sorted(present.difference(self._entries.resolve(present)))

    def get_or_create(self, key: AssetKey | str) -> tuple[AssetId, bool]:
        """Return the id of a key, and whether it was minted by this call.

        Raises:
            ValueError: ``key`` is no asset key.
            LockfileError: There is no id and the lockfile is frozen.
        """
        text = str(key)
        if (known := self._entries.ids.get(self._entries.renamed_to(text) or text)) is not None:
            return known, False
        text = str(AssetKey.parse(text))
        if self.frozen:
            self.require([text])
        minted = AssetId.generate()
        self._change(methodcaller("mint", text, minted))
        return minted, True

    def require(self, keys: Iterable[AssetKey | str]) -> None:
        """Make sure that every key has an id.

        Raises:
            LockfileError: Some have none; the message lists all of them.
        """
        if missing := self.missing(keys):
            raise errors.LockfileError(
                f"{len(missing)} {'asset has' if len(missing) == 1 else 'assets have'} no id in "
                f"{str(self.path or 'the lockfile')!r} and it is frozen: {', '.join(missing)}. "
                f"Run 'servo-gen manifest' or 'servo deploy' without --frozen (outside of CI) "
                f"and commit the lockfile.",
                code="LOCKFILE_FROZEN",
                context={"keys": ",".join(missing)},
            )

    def rename(self, old: AssetKey | str, new: AssetKey | str, *, replace: bool = False) -> AssetId:
        """Give the id of one key to another key.

        Until the code has the new key, `resolve` finds the asset by the old one as well.

        Args:
            old: The key that the asset has here.
            new: The key that it gets.
            replace: Whether ``new`` may have an id, which is given up.

        Raises:
            ValueError: ``new`` is no asset key.
            NotFoundError: ``old`` has no id.
            ConflictError: ``new`` has one already.
        """
        source, target = str(old), str(AssetKey.parse(str(new)))
        ids = self._entries.ids
        if source not in ids:
            # Renamed before, and perhaps to a name that was a slip.
            source = self._entries.renamed_to(source) or source
        if source not in ids:
            raise errors.NotFoundError(
                f"{source!r} has no id in the lockfile, so there is nothing to keep; "
                f"rename the function and deploy"
            )
        if source == target:
            return ids[source]
        if target in ids and not replace:
            raise errors.ConflictError(
                f"{target!r} has an id of its own ({ids[target]}); renaming {source!r} to "
                f"it would lose one of the two histories",
                code="RENAME_TARGET_EXISTS",
                context={"old_id": ids[source], "new_id": ids[target]},
            )
        self._change(methodcaller("rename", source, target, replace=replace))
        return self._entries.ids[target]

    def settle(self, keys: Iterable[AssetKey | str]) -> None:
        """Note which renames the code shows: it has the new key, and not the former ones.

        Args:
            keys: All the keys that the code has.
        """
        present = {str(key) for key in keys}
        for key, names in list(self._entries.former.items()):
            gone = [name for name in names if name not in present]
            if key in present and gone:
                self._change(methodcaller("settle", key, gone))

    def update_from_server(self, asset_ids: Mapping[str, str]) -> bool:
        """Take over the ids that the server knows; they win over the local ones.

        An id has one key: where the lockfile has it under another one, that entry goes. An asset
        that was renamed here keeps its new key while the server knows it by the old one.

        Args:
            asset_ids: Dotted key to id, as a deploy answers.

        Returns:
            Whether an id changed.

        Raises:
            ValueError: A key or an id is malformed; nothing is taken over then.
        """
        answers = {str(AssetKey.parse(key)): AssetId(text) for key, text in asset_ids.items()}
        changed = False
        for key, asset_id in answers.items():
            assign = methodcaller("assign", key, asset_id)
            if assign(self._entries):
                self._changes.append(assign)
                changed = True
        return changed

    def save(self, path: str | Path | None = None) -> None:
        """Write what changed, merged with what other processes wrote meanwhile.

        What this process decided is done again on what the file says then: ids that the server
        gave win over it, and it wins over ids that were minted here. After `save` the lockfile
        holds the merged ids. A file that says the same already is not touched, neither its bytes
        nor its time.

        Args:
            path: Where to; by default where it was loaded from.

        Raises:
            LockfileError: The file is corrupt, or the lock is not released in time.
            FilesystemError: It cannot be written.
        """
        target = Path(path) if path is not None else self.path
        if target is None:
            raise errors.LockfileError("this lockfile was not loaded from a file; pass save(path)")
        if target == self.path and not self.changed:
            return
        try:
            if target.parent.name == _STATE_DIRECTORY:
                private.directory(target.parent)
            target.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(target.with_name(target.name + ".lock")):
                # A file that has been deleted since loses nobody's ids.
                merged = _read(target) or self._base.copy()
                if target != self.path:
                    for key, asset_id in self._base.ids.items():
                        merged.mint(key, asset_id)
                for change in self._changes:
                    change(merged)
                text = print_lockfile(merged.ids, merged.former)
                if not target.exists() or target.read_bytes() != text.encode():
                    atomic.write(target, text.encode())
        except OSError as error:
            raise _not_written(target, error) from error
        self._entries, self._base = merged, merged.copy()
        self._changes.clear()

    @staticmethod
    def doubled(path: str | Path) -> dict[AssetId, tuple[str, ...]]:
        """Return the ids that a lockfile gives to several keys, with the keys, sorted.

        Raises:
            LockfileError: It cannot be read, or has another fault.
        """
        path = Path(path)
        ids, _ = _doubled(path)
        keys: dict[AssetId, list[str]] = {}
        for key, one in sorted(ids.items()):
            keys.setdefault(one, []).append(key)
        return {one: tuple(found) for one, found in keys.items() if len(found) > 1}

    @staticmethod
    def repair(path: str | Path, keep: Mapping[AssetId, str]) -> None:
        """Leave each id that a lockfile gives to several keys to one of them.

        Args:
            path: The lockfile.
            keep: Which key keeps an id; the others get ids of their own with the next build.

        Raises:
            ConflictError: The lockfile has such an id that ``keep`` does not name: another process
                has changed it.
            LockfileError: It cannot be read, or has another fault.
            FilesystemError: It cannot be written.
        """
        path = Path(path)
        try:
            with exclusive(path.with_name(path.name + ".lock")):
                ids, former = _doubled(path)
                kept = {k: one for k, one in ids.items() if keep.get(one, k) == k}
                if len(set(kept.values())) != len(kept):
                    raise errors.ConflictError(
                        f"the lockfile {str(path)!r} has been changed meanwhile; repair it again"
                    )
                left = {k: names for k, names in former.items() if k in kept}
                atomic.write(path, print_lockfile(kept, left).encode())
        except OSError as error:
            raise _not_written(path, error) from error


def _not_written(path: Path, error: OSError) -> errors.FilesystemError:
    return errors.FilesystemError(
        f"the lockfile {str(path)!r} cannot be written: {error.strerror or error}; "
        f"the ids in it are unchanged"
    )


def _doubled(path: Path) -> tuple[dict[str, AssetId], dict[str, tuple[str, ...]]]:
    data = _bytes(path)
    return ({}, {}) if data is None else parse_doubled(data, str(path))


def _read(path: Path) -> Entries | None:
    data = _bytes(path)
    return None if data is None else parse_lockfile(data, str(path))


def _bytes(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.LockfileError(
            f"the lockfile {str(path)!r} cannot be read: {error.strerror}; fix its permissions. "
            f"Starting without it would duplicate every asset."
        ) from error
