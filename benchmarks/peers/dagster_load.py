"""Load and serialise assets with Dagster: ``dagster_load.py COUNT``.

The like of ``servo-gen manifest``: the same number of asset functions in 100 modules, each with
owners, tags, a check, most with a dependency and half partitioned by day, collected and turned
into the serialised form that Dagster's own processes send to each other.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

_HEAD = """\
import dagster as dg

days = dg.DailyPartitionsDefinition(start_date="2020-01-01")
"""

_ASSET = '''

@dg.asset(
    key_prefix="{namespace}",
    description="Rows of asset {number} joined with its upstream.",
    owners=["data-platform@example.com"],
    tags={{"team": "core", "tier": "{tier}"}},
    check_specs=[
        dg.AssetCheckSpec("rows_{number}", asset=["{namespace}", "asset_{number:06d}"]),
        dg.AssetCheckSpec("nulls_{number}", asset=["{namespace}", "asset_{number:06d}"]),
    ],
{more})
def asset_{number:06d}(context):
    """Build asset {number}."""
'''


def write(root: Path, count: int) -> list[str]:
    """Write the modules; return their names."""
    files = min(100, count)
    per_file = count // files
    names = []
    for file in range(files):
        namespace = f"ns{file:03d}"
        parts = [_HEAD]
        for place in range(per_file):
            number = file * per_file + place
            more = "    partitions_def=days,\n" if number % 2 else ""
            if place >= 2:
                more += f'    deps=[dg.AssetKey(["{namespace}", "asset_{number - 2:06d}"])],\n'
            parts.append(
                _ASSET.format(namespace=namespace, number=number, tier=number % 3, more=more)
            )
        names.append(f"part_{file:03d}")
        (root / f"{names[-1]}.py").write_text("".join(parts))
    return names


def main() -> None:
    count = int(sys.argv[1])
    names = write(Path.cwd(), count)
    sys.path.insert(0, str(Path.cwd()))
    began = time.perf_counter()
    import dagster as dg
    from dagster._core.remote_representation.external_data import RepositorySnap
    from dagster._serdes import serialize_value

    modules = [importlib.import_module(name) for name in names]
    definitions = dg.Definitions(assets=dg.load_assets_from_modules(modules))
    repository = definitions.get_repository_def()
    text = serialize_value(RepositorySnap.from_def(repository))
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "bytes": len(text), "version": dg.__version__}))


main()
