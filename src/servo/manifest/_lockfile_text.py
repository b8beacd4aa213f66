"""The text of a lockfile: strict reading, canonical printing."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from servo import errors
from servo.manifest._lockfile_entries import Entries
from servo.types import AssetId, AssetKey

LOCKFILE_VERSION: Final = "1.0"
_WITH_RENAMES: Final = "1.1"
"""The version of a file with ``renamedFrom``, which versions of Servo that know 1.0 refuse."""
_is_version = re.compile(r"(\d+)\.(\d+)", re.ASCII).fullmatch
_OLDEST: Final = (1, 0)
_NEWEST: Final = (1, 1)


def print_lockfile(
    asset_ids: Mapping[str, AssetId], former: Mapping[str, Sequence[str]] | None = None
) -> str:
    """Return the text: indented by two, sorted, a newline at the end.

    Args:
        asset_ids: Dotted key to id.
        former: Of assets that were renamed and whose functions may not be yet: current key to
            former ones.
    """
    document: dict[str, Any] = {"assetIds": dict(asset_ids), "version": LOCKFILE_VERSION}
    if former:
        renamed = {key: list(names) for key, names in former.items()}
        document |= {"renamedFrom": renamed, "version": _WITH_RENAMES}
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def parse_lockfile(data: bytes, path: str) -> Entries:
    """Read the bytes of a lockfile.

    Args:
        data: All of them.
        path: Where they come from, for messages.

    Raises:
        LockfileError: Anything is not as it should be; nothing is guessed or repaired.
    """
    document, text = _document(data, path)
    ids = _check_ids(document["assetIds"], path, text)
    owner: dict[AssetId, str] = {}
    for key, one in ids.items():
        if one in owner:
            _refuse(
                path,
                _find(text, key),
                f"gives the id {one!s} to both {owner[one]!r} and {key!r}",
                remedy="'servo asset repair' keeps one of the two and gives the other an id of its "
                "own ('servo asset repair --dry-run' says which and changes nothing)",
            )
        owner[one] = key
    return Entries(ids, _check_renames(document.get("renamedFrom", {}), ids, path, text))


def parse_doubled(data: bytes, path: str) -> tuple[dict[str, AssetId], dict[str, tuple[str, ...]]]:
    """Read the bytes of a lockfile that may give one id to several keys.

    Args:
        data: All of them.
        path: Where they come from, for messages.

    Returns:
        Ids by key, and former keys by current ones.

    Raises:
        LockfileError: Anything else is not as it should be.
    """
    document, text = _document(data, path)
    ids = _check_ids(document["assetIds"], path, text)
    return ids, _check_renames(document.get("renamedFrom", {}), ids, path, text)


def _document(data: bytes, path: str) -> tuple[dict[str, Any], str]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        _refuse(path, data[: error.start].count(b"\n") + 1, "is no UTF-8 text", error)
    if not text.strip():
        _refuse(path, 1, "is empty")
    if (mark := re.search(r"^(<{7}|={7}|>{7})( |$)", text, re.MULTILINE)) is not None:
        _refuse(
            path,
            _line(text, mark.start()),
            "has conflict markers of a merge",
            remedy="keep the lines of both sides, one entry for each key, and remove the markers",
        )
    try:
        document = json.loads(text, object_pairs_hook=lambda pairs: _object(pairs, path, text))
    except json.JSONDecodeError as error:
        _refuse(path, error.lineno, f"is no valid JSON ({error.msg})", error)
    except RecursionError as error:
        _refuse(path, 1, "is nested too deeply", error)
    if not isinstance(document, dict):
        _refuse(path, 1, "holds no JSON object")
    _check_version(document, path, text)
    for name in document:
        if name not in ("assetIds", "renamedFrom", "version"):
            _refuse(path, _find(text, name), f"has the unknown entry {name!r}")
    if not isinstance(document.get("assetIds"), dict):
        _refuse(path, _find(text, "assetIds"), "has no object assetIds")
    return document, text


def _check_version(document: dict[str, Any], path: str, text: str) -> None:
    version = document.get("version")
    found = _is_version(version) if isinstance(version, str) else None
    if found is None:
        _refuse(path, _find(text, "version"), f"has the version {version!r}, expected '1.0'")
    if (int(found[1]), int(found[2])) > _NEWEST:
        _refuse(
            path,
            _find(text, "version"),
            f"has the version {version!r}, written by a newer Servo (this one knows "
            f"{_WITH_RENAMES!r})",
            remedy="upgrade Servo: pip install --upgrade arco-servo",
        )
    if (int(found[1]), int(found[2])) < _OLDEST:
        _refuse(path, _find(text, "version"), f"has the unknown version {version!r}")


def _check_ids(ids: dict[str, Any], path: str, text: str) -> dict[str, AssetId]:
    checked: dict[str, AssetId] = {}
    for key, value in ids.items():
        try:
            if str(AssetKey.parse(key)) != key:
                raise ValueError(f"Invalid asset key {key!r}: expected 'namespace.name'")
            checked[key] = AssetId(value)
        except (ValueError, TypeError) as error:
            _refuse(path, _find(text, key), f"has a wrong entry for {key!r}: {error}", error)
    return checked


def _check_renames(
    renamed: Any, ids: Mapping[str, AssetId], path: str, text: str
) -> dict[str, tuple[str, ...]]:
    if not isinstance(renamed, dict):
        _refuse(path, _find(text, "renamedFrom"), "has no object renamedFrom")
    checked: dict[str, tuple[str, ...]] = {}
    for key, names in renamed.items():
        try:
            if not isinstance(names, list) or not names or key not in ids:
                raise ValueError("expected the former keys of an asset that has an id")
            checked[key] = tuple(str(AssetKey.parse(name)) for name in names)
        except (ValueError, TypeError) as error:
            line = _line(text, text.rfind(json.dumps(key, ensure_ascii=False)))
            _refuse(path, line, f"has a wrong entry for {key!r} in renamedFrom: {error}", error)
    return checked


def _object(pairs: list[tuple[str, Any]], path: str, text: str) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        _refuse(
            path,
            _line(text, text.rfind(json.dumps(twice, ensure_ascii=False))),
            f"has the entry {twice!r} twice",
            remedy="keep the one that the control plane knows ('servo asset show' prints it)",
        )
    return found


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, max(position, 0)) + 1


def _find(text: str, name: str) -> int:
    return _line(text, text.find(json.dumps(name, ensure_ascii=False)))


def _refuse(
    path: str, line: int, what: str, cause: Exception | None = None, *, remedy: str = ""
) -> NoReturn:
    advice = remedy or f"restore it from version control: git checkout -- {path}"
    raise errors.LockfileError(
        f"the lockfile {path!r}, line {line}, {what}. To go on: {advice}. "
        f"Delete it only if nothing was ever deployed: without it every asset gets a new id "
        f"and loses its history.",
        code="LOCKFILE_CORRUPT",
        context={"file": path, "line": line},
    ) from cause
