"""The lockfile ``.servo/state.json``: which id belongs to which asset key.

An asset is its id, not its name, so losing this file would duplicate every asset. It is therefore
written atomically under a lock between processes, merged with what others wrote meanwhile, and
never replaced when it cannot be read (`servo.manifest._lockfile_text`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Self

from servo import errors
from servo.manifest import atomic
from servo.manifest._file_lock import exclusive
from servo.manifest._lockfile_text import parse_lockfile, print_lockfile
from servo.types import AssetId, AssetKey

__all__ = ["Lockfile"]


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
        self._ids = {key: AssetId(text) for key, text in (asset_ids or {}).items()}
        # What this process decided and the file may not know yet; `save` merges by these.
        self._minted: set[str] = set()
        self._from_server: set[str] = set()
        self._renamed: dict[str, str] = {}

    @classmethod
    def load(cls, path: str | Path, *, frozen: bool = False) -> Self:
        """Read a lockfile; one that does not exist is empty.

        Raises:
            LockfileError: It exists and cannot be read, or does not hold what it should; the
                message names file and line and says what to do.
        """
        path = Path(path)
        return cls(_read(path), path=path, frozen=frozen)

    @property
    def asset_ids(self) -> Mapping[str, AssetId]:
        """Dotted key to id; a read-only view."""
        return MappingProxyType(self._ids)

    @property
    def changed(self) -> bool:
        """Whether `save` has something to write."""
        return bool(self._minted or self._from_server or self._renamed)

    def missing(self, keys: Iterable[AssetKey | str]) -> list[str]:
        """Return the dotted keys that have no id, sorted."""
        return sorted({str(key) for key in keys}.difference(self._ids))

    def get_or_create(self, key: AssetKey | str) -> tuple[AssetId, bool]:
        """Return the id of a key, and whether it was minted by this call.

        Raises:
            ValueError: ``key`` is no asset key.
            LockfileError: There is no id and the lockfile is frozen.
        """
        text = str(key)
        if (known := self._ids.get(text)) is not None:
            return known, False
        text = str(AssetKey.parse(text))
        if self.frozen:
            self.require([text])
        minted = AssetId.generate()
        self._ids[text] = minted
        self._minted.add(text)
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

    def rename(self, old: AssetKey | str, new: AssetKey | str) -> AssetId:
        """Give the id of one key to another key.

        Raises:
            ValueError: ``new`` is no asset key.
            NotFoundError: ``old`` has no id.
            ConflictError: ``new`` has one already.
        """
        source, target = str(old), str(AssetKey.parse(str(new)))
        if source not in self._ids:
            raise errors.NotFoundError(
                f"{source!r} has no id in the lockfile, so there is nothing to keep; "
                f"rename the function and deploy"
            )
        if target in self._ids:
            raise errors.ConflictError(
                f"{target!r} has an id of its own ({self._ids[target]}); renaming {source!r} to "
                f"it would lose one of the two histories; remove one entry first"
            )
        self._ids[target] = self._ids.pop(source)
        self._renamed[source] = target
        for marks in (self._minted, self._from_server):
            if source in marks:
                marks.discard(source)
                marks.add(target)
        return self._ids[target]

    def update_from_server(self, asset_ids: Mapping[str, str]) -> bool:
        """Take over the ids that the server knows; they win over the local ones.

        Args:
            asset_ids: Dotted key to id, as a deploy answers.

        Returns:
            Whether an id changed.

        Raises:
            ValueError: A key or an id is malformed; nothing is taken over then.
        """
        answers = {str(AssetKey.parse(key)): AssetId(text) for key, text in asset_ids.items()}
        changed = {key: one for key, one in answers.items() if self._ids.get(key) != one}
        self._ids.update(changed)
        self._from_server.update(changed)
        self._minted.difference_update(answers)
        return bool(changed)

    def save(self, path: str | Path | None = None) -> None:
        """Write what changed, merged with what other processes wrote meanwhile.

        Ids that the server gave win over the file, the file wins over ids minted here: after
        `save` the lockfile holds the merged ids. A file that says the same already is not
        touched, neither its bytes nor its time.

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
            target.parent.mkdir(parents=True, exist_ok=True)
            with exclusive(target.with_name(target.name + ".lock")):
                merged = self._merge(_read(target))
                text = print_lockfile(merged)
                if not target.exists() or target.read_bytes() != text.encode():
                    atomic.write(target, text.encode())
        except OSError as error:
            raise errors.FilesystemError(
                f"the lockfile {str(target)!r} cannot be written: {error.strerror or error}; "
                f"the ids in it are unchanged"
            ) from error
        self._ids = merged
        self._minted.clear()
        self._from_server.clear()
        self._renamed.clear()

    def _merge(self, on_disk: Mapping[str, AssetId]) -> dict[str, AssetId]:
        merged = dict(on_disk)
        for source, target in self._renamed.items():
            if source in merged:
                merged.setdefault(target, merged[source])
                del merged[source]
        for key, one in self._ids.items():
            if key in self._from_server:
                merged[key] = one
            else:
                merged.setdefault(key, one)
        return merged


def _read(path: Path) -> dict[str, AssetId]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise errors.LockfileError(
            f"the lockfile {str(path)!r} cannot be read: {error.strerror}; fix its permissions. "
            f"Starting without it would duplicate every asset."
        ) from error
    return parse_lockfile(data, str(path))
