"""Data on disk: what functions return becomes Parquet, and Parquet becomes what they read.

``formats`` turns a function's result into an Arrow table, ``publish`` writes and publishes it,
``reading`` gives it to downstream functions, ``storage`` knows where it lies. pyarrow is loaded
by the modules that need it, not by this package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.io.formats import to_table
    from servo.io.publish import PublishedFile, Publisher
    from servo.io.reading import PartitionReader
    from servo.io.storage import DataRoot

__all__ = [
    "DataRoot",
    "PartitionReader",
    "PublishedFile",
    "Publisher",
    "to_table",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.io.formats": "to_table",
        "servo.io.publish": "PublishedFile Publisher",
        "servo.io.reading": "PartitionReader",
        "servo.io.storage": "DataRoot",
    },
)
