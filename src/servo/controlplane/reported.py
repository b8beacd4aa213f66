"""Whether what a worker reports can be true: paths, counts, ids, numbers of lines, metrics.

A worker is trusted with the data of its workspace, and not with the records of the control plane: a
defect of it, or somebody who has its key, must not put a path there that leads somewhere else.
Each function returns what is wrong, for people and without the value itself, which may hold
anything; an empty text where nothing is.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Final

from servo.io.storage import DataRoot
from servo.types.assets import AssetDefinition
from servo.types.ids import MaterializationId
from servo.types.logs import LogBatch, LogStream
from servo.types.partition_keys import PartitionKey
from servo.types.records import Materialization, Progress

_ROOT: Final = DataRoot(Path())
_MOST_LINES: Final = 2**53
"""More than can be written in a thousand years, and a number that JSON has exactly."""
_LONGEST_METRIC_NAME: Final = 1000


def wrong_materialization(
    made: Materialization, asset: AssetDefinition, partition_key: PartitionKey
) -> str:
    """Check what an attempt says that it made, before the control plane completes it.

    Args:
        made: What was reported.
        asset: The asset of the task.
        partition_key: Its partition.
    """
    if made.materialization_id and (wrong := wrong_id(made.materialization_id)):
        return wrong
    expected = ""
    if made.has_data:
        expected = _ROOT.relative(asset.key, partition_key, asset.partitioning)
    if made.path != expected:
        return "a path that is not the one of the asset and the partition"
    return wrong_counts(made)


def wrong_record(made: Materialization) -> str:
    """Check a record of what was made, without the definition that it was made from.

    Args:
        made: The record.
    """
    if wrong := wrong_id(made.materialization_id):
        return wrong
    if made.has_data or made.path:
        directory = f"{made.asset_key.namespace}/{made.asset_key.name}/"
        parts = made.path.split("/")
        is_below = made.path.startswith(directory) and "\0" not in made.path
        if not is_below or any(part in ("", ".", "..") for part in parts):
            return "a path that is not below the directory of the asset"
    return wrong_counts(made)


def wrong_id(text: str) -> str:
    """Check the id of a materialization."""
    try:
        is_right = MaterializationId(text) == text
    except ValueError:
        is_right = False
    return "" if is_right else "an id that is not a ULID"


def wrong_counts(made: Materialization) -> str:
    """Check the counts of a materialization."""
    if (made.row_count is not None and made.row_count < 0) or made.byte_size < 0:
        return "a negative number of rows or bytes"
    return ""


def wrong_metric(name: str, value: float) -> str:
    """Check a number that an attempt reported."""
    if not name or len(name) > _LONGEST_METRIC_NAME:
        return "a metric without a name, or with one that is too long"
    return "" if math.isfinite(value) else "a metric that is not a finite number"


def wrong_progress(progress: Progress) -> str:
    """Check the progress of an attempt."""
    percentage = progress.percentage
    is_right = percentage is None or 0 <= percentage <= 100
    return "" if is_right else "a progress that is not between 0 and 100 percent"


def wrong_lines(batch: LogBatch) -> str:
    """Check the numbers of lines: they count up from 1, in each stream."""
    last: dict[LogStream, int] = {}
    for line in batch.lines:
        if not last.get(line.stream, 0) < line.number < _MOST_LINES:
            return "lines whose numbers do not count up from 1"
        if not 0 <= line.dropped_after < _MOST_LINES:
            return "an impossible number of lines that were dropped"
        last[line.stream] = line.number
    return ""
