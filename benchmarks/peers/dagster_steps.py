"""Execute steps that do nothing with Dagster, in process: ``dagster_steps.py COUNT``.

Chains of ten, as in ``benchmarks/tasks.py``, events in the SQLite files of ``DAGSTER_HOME``.
"""

from __future__ import annotations

import json
import logging
import sys
import time

import dagster as dg


@dg.op(ins={"up": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
def nothing() -> None:
    pass


@dg.op(out=dg.Out(dg.Nothing))
def first() -> None:
    pass


def main() -> None:
    count = int(sys.argv[1])

    @dg.job(
        executor_def=dg.in_process_executor,
        config={"loggers": {"console": {"config": {"log_level": "ERROR"}}}},
    )
    def chains() -> None:
        for chain in range(count // 10):
            done = first.alias(f"chain_{chain}_0")()
            for place in range(1, 10):
                done = nothing.alias(f"chain_{chain}_{place}")(done)

    logging.disable(logging.WARNING)
    with dg.DagsterInstance.get() as instance:
        began = time.perf_counter()
        result = chains.execute_in_process(instance=instance)
        seconds = time.perf_counter() - began
    assert result.success
    print(json.dumps({"seconds": seconds, "version": dg.__version__}))


main()
