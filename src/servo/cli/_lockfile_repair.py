"""Which key keeps an id that a lockfile gives to several of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from servo import errors
from servo.types.ids import AssetId
from servo.types.keys import AssetKey

if TYPE_CHECKING:
    from servo.cli._session import Session
    from servo.client import Client
    from servo.manifest.project import Project


@dataclass(frozen=True, slots=True)
class Repair:
    """What is done about one id.

    Attributes:
        asset_id: The id.
        kept: The key that keeps it.
        removed: The keys that get an id of their own with the next build, if the code has them.
        reason: Why that one.
    """

    asset_id: AssetId
    kept: str
    removed: tuple[str, ...]
    reason: str


def plan(session: Session, keep: Collection[str]) -> list[Repair]:
    """Decide about every id that stands twice in the project's lockfile; writes nothing.

    Args:
        session: The command's.
        keep: Keys that keep their ids, as the user says.

    Raises:
        ConflictError: It cannot be decided, and the user has not said.
        LockfileError: The lockfile has another fault.
    """
    from servo.manifest import Lockfile

    doubled = Lockfile.doubled(session.project.lockfile_path)
    if not doubled:
        return []
    declared = _declared(session.project)
    repairs: list[Repair] = []
    with _control_plane(session) as client:
        for asset_id, keys in doubled.items():
            kept, reason = _choose(asset_id, keys, keep, declared, client)
            removed = tuple(key for key in keys if key != kept)
            repairs.append(Repair(asset_id, kept, removed, reason))
    return repairs


def _choose(
    asset_id: AssetId,
    keys: Sequence[str],
    keep: Collection[str],
    declared: Collection[str] | None,
    client: Client | None,
) -> tuple[str, str]:
    named = [key for key in keys if key in keep]
    if len(named) == 1:
        return named[0], "named with --keep"
    present = [key for key in keys if declared is not None and key in declared]
    if len(present) == 1:
        return present[0], "the code has only this one"
    for key in keys if client is not None else ():
        assert client is not None
        try:
            if client.assets.get(AssetKey.parse(key)).asset.definition.id == asset_id:
                return key, "the control plane has the id under this one"
        except errors.NotFoundError:
            continue
    raise errors.ConflictError(
        f"the id {asset_id} belongs to {' or '.join(map(repr, keys))}, and neither the code nor "
        f"the control plane tells to which; say which one keeps the history: "
        f"servo asset repair --keep {keys[-1]}",
        code="REPAIR_UNDECIDED",
        context={"keys": ",".join(keys)},
    )


def _declared(project: Project) -> set[str] | None:
    """Return the keys of the project's functions; `None` where its modules cannot be imported."""
    from servo.manifest.discovery import AssetDiscovery

    try:
        return {str(asset.key) for asset in AssetDiscovery(project=project).discover()}
    except errors.ServoError:
        return None


@contextmanager
def _control_plane(session: Session) -> Iterator[Client | None]:
    if not session.has_store:
        yield None
        return
    with session.connect() as connection:
        yield connection.client
