"""Plan a run of every asset of a manifest: ``python benchmarks/plan_chain.py MANIFEST``."""

from __future__ import annotations

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from servo.controlplane import planner
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import Scope
from servo.manifest import AssetManifest
from servo.types.requests import CreateRunRequest


def main() -> None:
    began = time.perf_counter()
    manifest = AssetManifest.from_json(Path(sys.argv[1]).read_bytes())
    read = time.perf_counter()
    catalog = Catalog("benchmark", manifest.assets, {})
    plan = planner.plan(
        CreateRunRequest(selection=("*",)),
        catalog,
        lambda key: (),
        Scope(datetime.now(UTC), "default"),
    )
    done = time.perf_counter()
    print(
        json.dumps(
            {"read_seconds": read - began, "plan_seconds": done - read, "tasks": len(plan.tasks)}
        )
    )


main()
