"""Assets of the current deployment, and what was made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from servo import _wire
from servo.client.calls import Invoker
from servo.client.pages import items
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.records import Materialization
from servo.types.requests import (
    AssetSummary,
    GetAssetRequest,
    GetAssetResponse,
    ListAssetsRequest,
    ListAssetsResponse,
    ListMaterializationsRequest,
    ListMaterializationsResponse,
)

_methods = _wire.methods


class Assets:
    """The verbs of assets."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def list(self, selection: Iterable[str] = ()) -> Iterator[AssetSummary]:
        """Yield assets, sorted by key.

        Args:
            selection: Asset keys or globs; none means all.

        Raises:
            servo.errors.NotFoundError: A selection names nothing, or nothing is deployed.
        """
        wanted = tuple(selection)

        def fetch(token: str) -> ListAssetsResponse:
            request = ListAssetsRequest(selection=wanted, page_token=token)
            return self._invoker.unary(_methods.LIST_ASSETS, request)

        return items(fetch, lambda page: page.assets)

    def get(self, key: AssetKey | str) -> GetAssetResponse:
        """Return an asset and the keys of those that read it.

        Raises:
            servo.errors.NotFoundError: There is no such asset, or nothing is deployed.
        """
        return self._invoker.unary(_methods.GET_ASSET, GetAssetRequest(key=_key(key)))

    def materializations(
        self,
        key: AssetKey | str,
        *,
        partition_key: PartitionKey | None = None,
        latest_only: bool = False,
    ) -> Iterator[Materialization]:
        """Yield what was made of an asset, newest first.

        Args:
            key: The asset.
            partition_key: Only this partition.
            latest_only: Whether only the newest of each partition is returned.

        Raises:
            servo.errors.NotFoundError: There is no such asset, or nothing is deployed.
        """

        def fetch(token: str) -> ListMaterializationsResponse:
            request = ListMaterializationsRequest(
                key=_key(key),
                partition_key=partition_key,
                latest_only=latest_only,
                page_token=token,
            )
            return self._invoker.unary(_methods.LIST_MATERIALIZATIONS, request)

        return items(fetch, lambda page: page.materializations)


def _key(key: AssetKey | str) -> AssetKey:
    return key if isinstance(key, AssetKey) else AssetKey.parse(key)
