"""Assets as they are deployed, and what was produced of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

from servo._wire import methods
from servo.client._aio._calls import Calls, pages
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey
from servo.types.records import Materialization
from servo.types.requests import (
    AssetSummary,
    GetAssetRequest,
    GetAssetResponse,
    ListAssetsRequest,
    ListMaterializationsRequest,
)
from servo.types.selection import expressions


class AsyncAssets:
    """The assets of the current deployment. Use it as ``client.assets``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list(
        self, selection: str | Iterable[str] = (), *, page_size: int = 0
    ) -> AsyncIterator[AssetSummary]:
        """Read assets, sorted by key, page by page.

        Args:
            selection: Keys, globs, and what else `servo.types.selection` describes; all assets
                when left out.
            page_size: Assets in a page; zero for the server's choice.

        Raises:
            NotFoundError: Nothing is deployed, or nothing is selected.
        """
        wanted = expressions(selection)
        async for page in pages(
            lambda token: self._calls.unary(
                methods.LIST_ASSETS,
                ListAssetsRequest(selection=wanted, page_size=page_size, page_token=token),
            ),
            lambda page: page.next_page_token,
        ):
            for asset in page.assets:
                yield asset

    async def get(self, key: AssetKey | str) -> GetAssetResponse:
        """Read one asset and the keys of those that read it.

        Args:
            key: The key, or its text.

        Raises:
            NotFoundError: There is no such asset in the current deployment.
            ValueError: The text is no key.
        """
        return await self._calls.unary(methods.GET_ASSET, GetAssetRequest(key=_key(key)))

    async def materializations(
        self,
        key: AssetKey | str,
        *,
        partition_key: PartitionKey | None = None,
        latest_only: bool = False,
        page_size: int = 0,
    ) -> AsyncIterator[Materialization]:
        """Read what was produced of an asset, newest first, page by page.

        Args:
            key: The key, or its text.
            partition_key: Only this partition; all when left out.
            latest_only: Whether to read only the latest of each partition.
            page_size: Materialisations in a page; zero for the server's choice.

        Raises:
            ValueError: The text is no key.
        """
        found = _key(key)
        async for page in pages(
            lambda token: self._calls.unary(
                methods.LIST_MATERIALIZATIONS,
                ListMaterializationsRequest(
                    key=found,
                    partition_key=partition_key,
                    latest_only=latest_only,
                    page_size=page_size,
                    page_token=token,
                ),
            ),
            lambda page: page.next_page_token,
        ):
            for materialization in page.materializations:
                yield materialization


def _key(key: AssetKey | str) -> AssetKey:
    return AssetKey.parse(key) if isinstance(key, str) else key
