"""Writing a partition's file and making it the current one.

A file is written under a staging name beside the published one, so that a reader never sees half
a table and a failure leaves what was there. Publishing is one atomic rename, under a lock of the
partition.

Why the lock compares tokens: a lease can run out while its attempt still works (a machine that
was asleep, a network that was cut). The control plane then gives the task to somebody else and
refuses the late result, but it cannot reach into a file system. So the token of the lease is part
of the published file, and an attempt whose token is smaller than the one it finds gives up:
an old attempt never replaces the data of a newer one. Tokens of different stores do not compare.
"""

from __future__ import annotations

import contextlib
import errno
import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from servo import errors
from servo._posix import fcntl
from servo.io.storage import STAGING_PREFIX, SUPERSEDED_FILE, refuse_shared_directory
from servo.types.assets import Compression, IoConfig

__all__ = ["PublishedFile", "Publisher", "read_fence"]

_LOCK_FILE: Final = ".lock"
# The disk, the quota or the process's own limit is exhausted: the machine's fault, not the code's.
_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# More groups than this would make row groups so small that reading them all gets slow.
_MAX_GROUPS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFile:
    """What was written: the number of rows and the size in bytes."""

    row_count: int
    byte_size: int


class Publisher:
    """Stages and publishes the data of one attempt.

    Args:
        target: The partition's published file.
        store_id: The control plane's store, from the welcome.
        token: The fencing token of the attempt's lease.
        facts: Further key-value metadata of the file, such as the run.
    """

    def __init__(
        self, target: Path, *, store_id: str, token: int, facts: Mapping[str, str] | None = None
    ) -> None:
        self._target = target
        self._store_id = store_id
        self._token = token
        self._facts = dict(facts or {})
        self._staged: Path | None = None

    def stage(self, table: pa.Table, io: IoConfig) -> PublishedFile:
        """Write the table beside the published file, durable but not yet visible.

        One partition is one file. With ``partition_by`` its rows are sorted by those columns
        (keeping their order otherwise) and a row group begins wherever the values change, so
        that a reader that filters by them skips the rest.

        Raises:
            ConfigurationError: Another partition has the directory, see `refuse_shared_directory`.
            FilesystemError: The disk is full (code ``DISK_FULL``) or refuses; nothing is left.
            InvalidArgumentError: Parquet cannot hold a column, or a ``partition_by`` column does
                not exist.
        """
        directory = self._target.parent
        staged = directory / f"{STAGING_PREFIX}{self._token}-{uuid.uuid4().hex}.parquet"
        groups = _row_groups(table, io)
        try:
            directory.mkdir(parents=True, exist_ok=True)
            refuse_shared_directory(directory)
            # Measured while it is open: a newer attempt may remove what an older one staged.
            size = self._write(groups, io, staged)
        except BaseException as exc:
            with contextlib.suppress(OSError):  # the first error says more
                staged.unlink(missing_ok=True)
            if isinstance(exc, OSError):
                raise _storage_error(exc, self._target) from exc
            if isinstance(exc, pa.ArrowException):
                raise errors.InvalidArgumentError(
                    f"Parquet cannot hold the data: {exc}",
                    code="INVALID_OUTPUT",
                    hint=f"The columns are {', '.join(map(str, table.schema))}.",
                ) from exc
            raise
        self._staged = staged
        return PublishedFile(row_count=table.num_rows, byte_size=size)

    def publish(self) -> None:
        """Make the staged file the partition's data.

        Raises:
            LeaseExpiredError: A newer attempt has published already; its data stays.
            FilesystemError: The disk refuses.
        """
        if self._staged is None:
            raise RuntimeError("stage() comes before publish()")
        try:
            with _locked(self._target.parent):
                self._refuse_newer()
                self._staged.replace(self._target)
                self._staged = None
                self._target.with_name(SUPERSEDED_FILE).unlink(missing_ok=True)
                _sync_directory(self._target.parent)
                _remove_stale(self._target.parent, self._token)
        except OSError as exc:
            raise _storage_error(exc, self._target) from exc
        finally:
            self.discard()

    def publish_nothing(self) -> None:
        """Record on disk that the partition has no data any more.

        The data of an earlier attempt, if there is any, is kept as ``superseded.parquet`` until
        the next publication, so that nothing disappears because a function returned ``None``.

        Raises:
            ConfigurationError: The data is that of another partition.
            LeaseExpiredError: A newer attempt has published already; its data stays.
            FilesystemError: The disk refuses.
        """
        if not self._target.exists():
            return
        try:
            refuse_shared_directory(self._target.parent)
            with _locked(self._target.parent):
                self._refuse_newer()
                with contextlib.suppress(FileNotFoundError):
                    self._target.replace(self._target.with_name(SUPERSEDED_FILE))
                _sync_directory(self._target.parent)
        except OSError as exc:
            raise _storage_error(exc, self._target) from exc

    def discard(self) -> None:
        """Remove what was staged and not published."""
        if self._staged is not None:
            self._staged.unlink(missing_ok=True)
            self._staged = None

    def _write(self, groups: list[pa.Table], io: IoConfig, staged: Path) -> int:
        schema = groups[0].schema
        codec = "NONE" if io.compression is Compression.NONE else io.compression.value
        with staged.open("xb") as file:
            with pq.ParquetWriter(file, schema, compression=codec) as writer:
                for group in groups:
                    writer.write_table(group, row_group_size=io.row_group_rows)
                writer.add_key_value_metadata(
                    {
                        **{f"servo.{name}": value for name, value in self._facts.items()},
                        "servo.store_id": self._store_id,
                        "servo.token": str(self._token),
                    }
                )
            file.flush()
            os.fsync(file.fileno())
            return file.tell()

    def _refuse_newer(self) -> None:
        found = read_fence(self._target)
        if found is None:
            return
        store_id, token = found
        if store_id == self._store_id and token > self._token:
            raise errors.LeaseExpiredError(
                f"a newer attempt (token {token}) has published this partition; the data of this "
                f"attempt (token {self._token}) was not published and nothing was changed",
                context={"token": self._token, "published_token": token},
            )


def read_fence(path: Path) -> tuple[str, int] | None:
    """Return the store and the token that published a file; ``None`` when nobody says."""
    try:
        metadata = pq.read_metadata(path).metadata or {}
        return metadata[b"servo.store_id"].decode(), int(metadata[b"servo.token"])
    except FileNotFoundError:
        return None
    except (KeyError, ValueError, pa.ArrowException):
        # Somebody else's file or a damaged one: it holds no lease that could be newer.
        return None


def _row_groups(table: pa.Table, io: IoConfig) -> list[pa.Table]:
    columns = list(io.partition_by)
    if not columns:
        return [table]
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise errors.InvalidArgumentError(
            f"io.partition_by names {missing!r}; the data has {table.column_names!r}",
            code="INVALID_OUTPUT",
        )
    if not table.num_rows:
        return [table]
    import pyarrow.compute as pc

    indices = pc.sort_indices(table, sort_keys=[(name, "ascending") for name in columns])
    table = table.take(indices).combine_chunks()
    changes = {0}
    for name in columns:
        codes = table.column(name).combine_chunks().dictionary_encode(null_encoding="encode")
        codes = (codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes).indices
        differs = pc.not_equal(codes.slice(1), codes.slice(0, len(codes) - 1))
        changes.update(index + 1 for index in pc.indices_nonzero(differs).to_pylist())
        if len(changes) > _MAX_GROUPS:
            return [table]
    starts = sorted(changes)
    return [
        table.slice(start, end - start)
        for start, end in zip(starts, [*starts[1:], table.num_rows], strict=True)
    ]


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    with (directory / _LOCK_FILE).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _remove_stale(directory: Path, token: int) -> None:
    # Only attempts with smaller tokens can be dead for sure: a newer one may be writing now.
    for path in directory.glob(f"{STAGING_PREFIX}*.parquet"):
        owner = path.name.removeprefix(STAGING_PREFIX).partition("-")[0]
        if owner.isdigit() and int(owner) <= token:
            path.unlink(missing_ok=True)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storage_error(error: OSError, target: Path) -> errors.FilesystemError:
    if error.errno in _NO_SPACE:
        return errors.FilesystemError(
            f"no space left to write the data of {target.parent.name!r} "
            f"({os.strerror(error.errno)}); what was published before is unchanged",
            code="DISK_FULL",
            hint="Free some space below the data root, or raise the limit, and run it again.",
        )
    return errors.FilesystemError(
        f"cannot write the data of {target.parent.name!r}: {error.strerror or error}",
        code="STORAGE",
        hint="Check the permissions of the data root.",
    )
