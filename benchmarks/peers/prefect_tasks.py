"""Execute tasks that do nothing with Prefect: ``prefect_tasks.py COUNT``.

Chains of ten, as in ``benchmarks/tasks.py``, against the local server that Prefect starts by
itself, with its SQLite file in ``PREFECT_HOME``.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import prefect
from prefect.task_runners import ThreadPoolTaskRunner


@prefect.task
def nothing(up: object = None) -> None:
    return None


@prefect.flow(task_runner=ThreadPoolTaskRunner(max_workers=2), log_prints=False)
def chains(count: int) -> None:
    ends = []
    for _ in range(count // 10):
        done = nothing.submit()
        for _ in range(9):
            done = nothing.submit(wait_for=[done])
        ends.append(done)
    for end in ends:
        end.wait()


def main() -> None:
    count = int(sys.argv[1])
    logging.disable(logging.WARNING)
    chains(10)  # starts the server, which is not part of what is measured
    began = time.perf_counter()
    chains(count)
    seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds, "version": prefect.__version__}))


main()
