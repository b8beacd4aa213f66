"""What changed between two manifests, asset by asset."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from servo.types import AssetDefinition, AssetKey, CodeLocation
from servo.types.deployments import AssetChange, AssetChangeKind

__all__ = ["describe", "diff", "possible_renames"]


def diff(old: Iterable[AssetDefinition], new: Iterable[AssetDefinition]) -> tuple[AssetChange, ...]:
    """Compare the assets of two manifests.

    An asset that has another key and the same id was renamed. Line numbers say where a function
    stands, not what it is, and are not compared; neither is an id that one side does not know yet.

    Args:
        old: The assets before.
        new: The assets after.

    Returns:
        One change for each asset that differs, sorted by key.
    """
    before = {asset.key: asset for asset in old}
    after = {asset.key: asset for asset in new}
    gone = {asset.id: asset for key, asset in before.items() if asset.id and key not in after}
    changes: list[AssetChange] = []
    renamed: set[AssetKey] = set()
    for key, asset in after.items():
        previous = before.get(key)
        if previous is None:
            origin = gone.get(asset.id) if asset.id else None
            if origin is None:
                changes.append(AssetChange(key=key, kind=AssetChangeKind.ADDED))
                continue
            renamed.add(origin.key)
            changes.append(
                AssetChange(
                    key=key,
                    kind=AssetChangeKind.RENAMED,
                    fields=changed_fields(origin, asset),
                    previous_key=origin.key,
                )
            )
        elif fields := changed_fields(previous, asset):
            changes.append(AssetChange(key=key, kind=AssetChangeKind.CHANGED, fields=fields))
    changes.extend(
        AssetChange(key=key, kind=AssetChangeKind.REMOVED)
        for key in before
        if key not in after and key not in renamed
    )
    return tuple(sorted(changes, key=lambda change: change.key))


def changed_fields(old: AssetDefinition, new: AssetDefinition) -> tuple[str, ...]:
    """Return the JSON names of the fields that differ, sorted; the key is none of them."""
    return tuple(name for name, field in _FIELDS.items() if _differs(field, old, new))


def possible_renames(
    old: Iterable[AssetDefinition], new: Iterable[AssetDefinition]
) -> tuple[tuple[AssetKey, AssetKey], ...]:
    """Find assets that vanished where a new one does exactly the same.

    These are offered to people, never assumed: a copied function looks the same.

    Returns:
        Pairs of the vanished and the new key, where the fingerprint leaves no choice, sorted.
    """
    before = {asset.key: asset for asset in old}
    after = {asset.key: asset for asset in new}
    vanished = _by_fingerprint(asset for key, asset in before.items() if key not in after)
    known = {asset.id for asset in before.values() if asset.id}
    arrived = _by_fingerprint(
        asset
        for key, asset in after.items()
        if key not in before and asset.renamed_from is None and asset.id not in known
    )
    pairs = [
        (keys[0], arrived[fingerprint][0])
        for fingerprint, keys in vanished.items()
        if len(keys) == 1 and len(arrived.get(fingerprint, ())) == 1
    ]
    return tuple(sorted(pairs))


_SIGNS: Final = {
    AssetChangeKind.ADDED: "+",
    AssetChangeKind.REMOVED: "-",
    AssetChangeKind.CHANGED: "~",
    AssetChangeKind.RENAMED: ">",
}


def describe(change: AssetChange) -> str:
    """Return one line for people: a sign, the key, and what is different."""
    text = f"{_SIGNS[change.kind]} {change.key}"
    if change.previous_key is not None:
        text += f" (was {change.previous_key})"
    if change.fields:
        text += f": {', '.join(change.fields)}"
    return text


def _json_name(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)


_FIELDS: Final[Mapping[str, str]] = {
    _json_name(field): field
    for field in sorted(one.name for one in dataclasses.fields(AssetDefinition))
    if field != "key"
}


def _differs(field: str, old: AssetDefinition, new: AssetDefinition) -> bool:
    one, other = getattr(old, field), getattr(new, field)
    if one == other:
        return False
    if field == "id":
        return bool(one and other)
    if field == "code":
        return _without_line(one) != _without_line(other)
    return True


def _without_line(code: CodeLocation) -> CodeLocation:
    return dataclasses.replace(code, line_number=0)


def _by_fingerprint(assets: Iterator[AssetDefinition]) -> dict[str, list[AssetKey]]:
    found: dict[str, list[AssetKey]] = {}
    for asset in assets:
        if asset.transform_fingerprint:
            found.setdefault(asset.transform_fingerprint, []).append(asset.key)
    return found
