"""Where data lies: ``<root>/<namespace>/<name>/<partition path>/data.parquet``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servo import errors
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import PartitionStrategy

__all__ = ["DATA_FILE", "STAGING_PREFIX", "SUPERSEDED_FILE", "DataRoot", "remove_staged"]

DATA_FILE: Final = "data.parquet"
"""Name of the published file of a partition."""

STAGING_PREFIX: Final = ".staging-"
"""How the names of files begin that are not published yet; the token of their lease follows."""

SUPERSEDED_FILE: Final = "superseded.parquet"
"""Name that the data keeps when a later run of the same partition left none."""


@dataclass(frozen=True, slots=True)
class DataRoot:
    """A directory that holds the data of all assets.

    Attributes:
        path: The directory; it is made when something is written.
    """

    path: Path

    def relative(
        self, key: AssetKey, partition_key: PartitionKey, partitioning: PartitionStrategy
    ) -> str:
        """Return where a partition's file lies, relative to the root and with ``/``.

        Args:
            key: The asset.
            partition_key: Its partition; the empty key for an asset without partitions.
            partitioning: Gives the order of the directories.

        Raises:
            ValueError: The key does not have exactly the dimensions of the partitioning.
        """
        inner = partition_key.to_path(partitioning.dimension_names)
        middle = f"{inner}/" if inner else ""
        return f"{key.namespace}/{key.name}/{middle}{DATA_FILE}"

    def resolve(self, relative: str) -> Path:
        """Return the file for a path that `relative` made or the control plane sent.

        Raises:
            InvalidArgumentError: The path would leave the root.
        """
        parts = relative.split("/")
        if not relative or "\0" in relative or any(part in ("", ".", "..") for part in parts):
            raise errors.InvalidArgumentError(
                f"the data path {relative!r} does not stay below the data root",
                hint="Paths are relative, separated by '/', without '.' and '..'.",
            )
        return self.path.joinpath(*parts)


def remove_staged(target: Path, token: int) -> None:
    """Remove what an attempt had staged that is dead for sure.

    Args:
        target: The partition's published file.
        token: The fencing token of the attempt's lease.

    Raises:
        OSError: The disk refuses.
    """
    for path in target.parent.glob(f"{STAGING_PREFIX}{token}-*.parquet"):
        path.unlink(missing_ok=True)
