"""Random graphs of assets that do next to nothing, as code that a real worker imports."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from plane_kit import asset
from servo.types import AssetDefinition, CodeLocation, ExecutionPolicy

MODULE: Final = "assets.graphs"
EXECUTIONS: Final = "executions.log"
"""The file in a project to which user code adds a line when it begins."""

_HEAD: Final = """
import os
import time
from pathlib import Path
from typing import Annotated

from servo import AssetIn, asset

HERE = Path(__file__).resolve().parent.parent

def begin(ctx, name, log="executions.log"):
    line = f"{ctx.run_id} {ctx.task_id} {ctx.attempt} {name}\\n".encode()
    descriptor = os.open(HERE / log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, line)
    os.close(descriptor)
"""

_BODIES: Final = {
    "table": "    return [{'n': n} for n in range(@ROWS@)]",
    "nothing": "    return None",
    "flaky": (
        "    if ctx.attempt == 1:\n"
        "        raise ValueError('not the first time')\n"
        "    return [{'n': 1}]"
    ),
    "broken": "    raise ValueError('never')",
    "slow": (
        "    until = time.monotonic() + 100\n"
        "    while not (HERE / f'go-{ctx.attempt}').exists():\n"
        "        if time.monotonic() > until:\n"
        "            raise TimeoutError('nobody let it go on')\n"
        "        time.sleep(0.01)\n"
        "        ctx.report_progress('waiting')\n"
        "    begin(ctx, 'slow', 'let-go.log')\n"
        "    return [{'n': ctx.attempt}]"
    ),
}


@dataclass
class Workload:
    """Assets in namespaces of their own, each a random graph.

    Attributes:
        definitions: What is to be deployed.
        namespaces: The graphs.
        kinds: What each asset does: ``table``, ``nothing``, ``flaky``, ``broken`` or ``slow``.
    """

    definitions: list[AssetDefinition] = field(default_factory=list)
    namespaces: list[str] = field(default_factory=list)
    kinds: dict[str, str] = field(default_factory=dict)
    _lines: list[str] = field(default_factory=lambda: [_HEAD])

    @classmethod
    def at_random(cls, chance: random.Random, *, graphs: int, most_tasks: int) -> Workload:
        """Make some graphs; most assets work, some at the second attempt, a few never."""
        made = cls()
        for number in range(graphs):
            tables: list[str] = []
            for _ in range(chance.randint(2, most_tasks)):
                upstream = chance.sample(tables, min(len(tables), chance.randint(0, 2)))
                kind = chance.choices(["table", "nothing", "flaky", "broken"], [40, 24, 8, 2])[0]
                key = made.add(f"g{number}", kind, *upstream, rows=chance.randint(1, 50))
                if kind != "nothing":  # what has no data cannot be read
                    tables.append(key)
        return made

    def add(self, namespace: str, kind: str, *upstream: str, rows: int = 1, **policy: Any) -> str:
        """Add an asset of some kind; return its key."""
        if namespace not in self.namespaces:
            self.namespaces.append(namespace)
        name = f"a{len(self.definitions)}"
        policy = {"max_retries": 0 if kind == "broken" else 20, "retry_delay_seconds": 0} | policy
        reads = [f", p{n}: Annotated[object, AssetIn[{key!r}]]" for n, key in enumerate(upstream)]
        body = _BODIES[kind].replace("@ROWS@", str(rows))
        self._lines.append(
            f"@asset(namespace={namespace!r})\n"
            f"def {name}(ctx{''.join(reads)}):\n"
            f"    begin(ctx, {name!r})\n{body}\n"
        )
        made = asset(f"{namespace}.{name}", *upstream, execution=ExecutionPolicy(**policy))
        self.definitions.append(replace(made, code=CodeLocation(MODULE, name)))
        self.kinds[f"{namespace}.{name}"] = kind
        return f"{namespace}.{name}"

    def write(self, project: Path) -> None:
        """Write the project that a worker serves."""
        (project / "assets").mkdir(parents=True, exist_ok=True)
        (project / "pyproject.toml").write_text("[tool.servo]\n")
        (project / "assets" / "graphs.py").write_text("\n".join(self._lines))


def executions(project: Path, log_name: str = EXECUTIONS) -> Iterator[tuple[str, str, int]]:
    """Yield run, task and attempt of everything that user code began; or that was let go."""
    log = project / log_name
    for line in log.read_text().splitlines() if log.exists() else ():
        run_id, task_id, attempt, _ = line.split()
        yield run_id, task_id, int(attempt)
