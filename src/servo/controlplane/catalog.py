"""The assets of one deployment, as the control plane looks at them."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from servo import errors
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey


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
        self._downstream: dict[AssetKey, list[AssetKey]] | None = None

    def get(self, key: AssetKey) -> AssetDefinition:
        """Return an asset.

        Raises:
            servo.errors.NotFoundError: The deployment has no such asset.
        """
        try:
            return self.assets[key]
        except KeyError:
            raise self._unknown(str(key)) from None

    def asset_id(self, key: AssetKey) -> str:
        """Return the stable id of an asset."""
        known = self._asset_ids.get(str(key))
        return known or str(self.assets[key].id or "")

    def downstream(self, key: AssetKey) -> Sequence[AssetKey]:
        """Return the keys of the assets that read an asset, sorted."""
        if self._downstream is None:
            found: dict[AssetKey, list[AssetKey]] = {}
            for reader in sorted(self.assets):
                for upstream in dict.fromkeys(
                    dependency.upstream_key for dependency in self.assets[reader].dependencies
                ):
                    found.setdefault(upstream, []).append(reader)
            self._downstream = found
        return self._downstream.get(key, [])

    def select(self, patterns: Sequence[str]) -> list[AssetKey]:
        """Return the assets that keys and globs name, sorted.

        Args:
            patterns: Keys (``raw.events``) or globs (``mart.*``, ``*``).

        Raises:
            servo.errors.NotFoundError: A pattern names nothing.
        """
        by_name = {str(key): key for key in self.assets}
        chosen: set[AssetKey] = set()
        for pattern in patterns:
            if not set(pattern) & set("*?["):
                name = pattern if "." in pattern else f"default.{pattern}"
                if name not in by_name:
                    raise self._unknown(pattern)
                chosen.add(by_name[name])
                continue
            found = [by_name[name] for name in by_name if fnmatch.fnmatchcase(name, pattern)]
            if not found:
                raise self._unknown(pattern)
            chosen.update(found)
        return sorted(chosen)

    def _unknown(self, name: str) -> errors.NotFoundError:
        names = sorted(str(key) for key in self.assets)
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
