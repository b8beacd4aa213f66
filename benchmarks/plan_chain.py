"""Select and plan runs of a chain of assets: ``python benchmarks/plan_chain.py MANIFEST``."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from servo.controlplane import planner
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import WHOLE, Scope
from servo.manifest import AssetManifest
from servo.types.requests import CreateRunRequest

PART = 10_000


def main() -> None:
    manifest = AssetManifest.from_json(Path(sys.argv[1]).read_bytes())
    catalog = Catalog("benchmark", manifest.assets, {})
    read = {item.upstream_key for asset in manifest.assets for item in asset.dependencies}
    (last,) = catalog.assets.keys() - read
    began = time.perf_counter()
    selected = catalog.select([f"+{last}"])
    chosen = time.perf_counter()
    tasks = plan(catalog, "*")
    planned = time.perf_counter()
    part = plan(catalog, f"{PART - 1}+{last}")
    done = time.perf_counter()
    assert len(selected) == tasks == len(catalog.assets)
    print(
        json.dumps(
            {
                "select_seconds": chosen - began,
                "plan_seconds": planned - chosen,
                "tasks": tasks,
                "part_seconds": done - planned,
                "part": part,
            }
        )
    )


def plan(catalog: Catalog, selection: str) -> int:
    """Return the number of tasks of a run."""
    request = CreateRunRequest(selection=(selection,))
    scope = Scope(datetime.now(UTC), "default")
    return len(planner.plan(request, catalog, lambda key: (WHOLE,), scope).tasks)


main()
