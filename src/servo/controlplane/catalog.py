"""The assets of one deployment, as the control plane looks at them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property, lru_cache
from operator import attrgetter

from servo import errors
from servo.controlplane.selecting import select
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey

_DOTTED = attrgetter("namespace", "name")
"""Sorts like the keys themselves, several times faster."""

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
        known = self._asset_ids.get(str(key))
        return known or str(self.assets[key].id or "")

    def downstream(self, key: AssetKey) -> Sequence[AssetKey]:
        """Return the keys of the assets that read an asset, sorted."""
        return self._readers.get(key, [])

    @cached_property
    def _readers(self) -> Mapping[AssetKey, Sequence[AssetKey]]:
        found: dict[AssetKey, list[AssetKey]] = {}
        for reader in self.keys:
            for upstream in self.upstream(reader):
                found.setdefault(upstream, []).append(reader)
        return found

    def upstream(self, key: AssetKey) -> Collection[AssetKey]:
        """Return the keys of the assets that an asset reads."""
        return {dependency.upstream_key for dependency in self.assets[key].dependencies}

    @cached_property
    def by_name(self) -> Mapping[str, AssetKey]:
        """The keys of the assets by their dotted text."""
        return {str(key): key for key in self.assets}

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

    def unknown(self, name: str) -> errors.NotFoundError:
        """Return what is said of a key or a glob that names no asset."""
        names = sorted(self.by_name)
        close = difflib.get_close_matches(name, names, n=3)
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
