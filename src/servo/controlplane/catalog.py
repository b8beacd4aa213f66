"""The assets of one deployment, as the control plane looks at them."""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import attrgetter

from servo import errors
from servo.controlplane.selecting import select
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey

_DOTTED = attrgetter("namespace", "name")
"""Sorts like the keys themselves, several times faster."""

_COMPARED = 200
"""How many names an unknown one is compared with: those before and after it in the alphabet."""

_KEPT = 4
"""How many selections are remembered."""


class Catalog:
    """The assets of a deployment by key, and who reads whom.

    Args:
        deployment_id: The deployment.
        assets: Its assets.
        asset_ids: The ids that the workspace knows, by dotted key; they win over those in the
            definitions.
    """

    def __init__(
        self,
        deployment_id: str,
        assets: Iterable[AssetDefinition],
        asset_ids: Mapping[str, str],
    ) -> None:
        self.deployment_id = deployment_id
        self.assets = {asset.key: asset for asset in assets}
        self._asset_ids = asset_ids
        self._former_ids: dict[str, str] = {}

    def get(self, key: AssetKey) -> AssetDefinition:
        """Return an asset.

        Raises:
            servo.errors.NotFoundError: The deployment has no such asset.
        """
        try:
            return self.assets[key]
        except KeyError:
            raise self.unknown(str(key)) from None

    def asset_id(self, key: AssetKey) -> str:
        """Return the stable id of an asset."""
        known = self._asset_ids.get(str(key)) or self._former_ids.get(str(key))
        return known or str(self.assets[key].id or "")

    def keep_id(self, key: str, asset_id: str) -> None:
        """Remember the id of an asset that has got another key since."""
        self._former_ids[key] = asset_id

    def downstream(self, key: AssetKey) -> Sequence[AssetKey]:
        """Return the keys of the assets that read an asset, sorted."""
        return self._readers.get(key, ())

    @cached_property
    def _readers(self) -> Mapping[AssetKey, Sequence[AssetKey]]:
        # Tuples: one list for each of very many assets would take more than what is in it.
        found: dict[AssetKey, tuple[AssetKey, ...]] = {}
        many: dict[AssetKey, list[AssetKey]] = {}
        for reader in self.keys:
            for upstream in self.upstream(reader):
                if upstream in found:
                    many.setdefault(upstream, [*found[upstream]]).append(reader)
                else:
                    found[upstream] = (reader,)
        return found | {key: tuple(readers) for key, readers in many.items()}

    def upstream(self, key: AssetKey) -> Collection[AssetKey]:
        """Return the keys of the assets that an asset reads."""
        return {dependency.upstream_key for dependency in self.assets[key].dependencies}

    def named(self, name: str) -> AssetKey | None:
        """Return the key with a dotted text, if there is such an asset."""
        try:
            key = AssetKey.parse(name)
        except ValueError:
            return None
        return key if key in self.assets else None

    @cached_property
    def keys(self) -> Sequence[AssetKey]:
        """The keys of the assets, sorted."""
        return sorted(self.assets, key=_DOTTED)

    def select(self, expressions: Iterable[str]) -> Sequence[AssetKey]:
        """Return the assets that selections mean together, sorted.

        Args:
            expressions: Keys (``raw.events``), globs (``mart.*``, ``*``) and everything else that
                `servo.types.selection` describes.

        Raises:
            servo.errors.InvalidArgumentError: An expression cannot be read.
            servo.errors.NotFoundError: An expression names nothing.
        """
        return self._selected(tuple(expressions))

    @cached_property
    def _selected(self) -> Callable[[tuple[str, ...]], Sequence[AssetKey]]:
        # A listing asks for the same selection once for each page.
        return lru_cache(maxsize=_KEPT)(lambda texts: sorted(select(texts, self), key=_DOTTED))

    @cached_property
    def _names(self) -> Sequence[str]:
        return sorted(map(str, self.assets))

    def _similar(self, name: str) -> Sequence[str]:
        """Return names that a misspelt one may stand for: comparing takes 0.1 ms each."""
        names = self._names
        if len(names) <= _COMPARED:
            return names
        at = bisect_left(names, name)
        return names[max(at - _COMPARED // 2, 0) : at + _COMPARED // 2]

    def unknown(self, name: str) -> errors.NotFoundError:
        """Return what is said of a key or a glob that names no asset."""
        names = self._names
        close = difflib.get_close_matches(name, self._similar(name), n=3)
        if close:
            advice = f"did you mean {', '.join(close)}?"
        elif names:
            shown = ", ".join(names[:10]) + (", …" if len(names) > 10 else "")
            advice = f"the deployment has {shown}"
        else:
            advice = "the deployment has no assets"
        return errors.NotFoundError(
            f"no asset matches {name!r}; {advice}", code="ASSET_NOT_FOUND", context={"asset": name}
        )
