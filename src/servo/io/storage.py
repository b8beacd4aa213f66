"""Where data lies: ``<root>/<namespace>/<name>/<partition path>/data.parquet``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servo import errors
from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import PartitionStrategy

__all__ = [
    "DATA_FILE",
    "STAGING_PREFIX",
    "SUPERSEDED_FILE",
    "DataRoot",
    "refuse_shared_directory",
    "remove_staged",
]

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


def refuse_shared_directory(
    directory: Path,
    *,
    names: Callable[[Path], Iterable[str]] = os.listdir,
    exists: Callable[[Path], bool] = os.path.lexists,
) -> None:
    """Refuse to write where another partition lies whose name differs in upper and lower case only.

    On a file system that does not tell them apart, as macOS and Windows come, ``region=North`` and
    ``region=north`` are one directory. Elsewhere this costs one look for each dimension: names
    that Servo makes begin with a lower-case letter, so the same name with its case swapped is
    found only where the file system folds case.

    Args:
        directory: The directory of one partition; it exists.
        names: Lists a directory.
        exists: Tells whether there is something at a path.

    Raises:
        ConfigurationError: It is the directory of another partition; nothing was changed.
        OSError: The disk refuses.
    """
    for part in (directory, *directory.parents):
        if "=" not in part.name:
            return
        if not exists(part.with_name(part.name.swapcase())):
            continue
        found = list(names(part.parent))
        if part.name in found:
            continue
        folded = part.name.casefold()
        other = next((name for name in found if name.casefold() == folded), None)
        if other is not None:
            raise errors.ConfigurationError(
                f"the partition {part.name!r} would share the directory of {other!r}: the file "
                f"system of the data root does not tell upper from lower case",
                code="SHARED_PATH",
                context={"partition": part.name, "other": other},
                hint="Give the values names that differ in more than case, or move the data root "
                "to a file system that tells them apart.",
            )


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
