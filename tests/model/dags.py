"""Random graphs of tasks: plans with upstream edges and gates, and runs that have just begun."""

from __future__ import annotations

import random
from dataclasses import dataclass

from hypothesis import strategies as st

from servo.types.keys import AssetKey
from servo.types.partition_keys import PartitionKey
from servo.types.plans import Plan, PlanGate, PlannedTask
from servo.types.records import Run, Task
from servo.types.runs import RunState, TaskState

KEY = AssetKey("raw", "events")
RUN_ID = "run"
LARGEST = 200


@dataclass(frozen=True, slots=True)
class Dag:
    """Who waits for whom: for each task the tasks and the gates before it, and the gates."""

    upstream: tuple[tuple[int, ...], ...]
    gates_of: tuple[tuple[int, ...], ...] = ()
    gates: tuple[tuple[int, ...], ...] = ()

    def plan(self) -> Plan:
        """Return the plan; each task is a partition of one asset."""
        waits = zip(self.upstream, self.gates_of or ((),) * len(self.upstream), strict=True)
        return Plan(
            assets=(KEY,),
            tasks=tuple(
                PlannedTask(
                    asset=0,
                    partition_key=PartitionKey({"n": number}),
                    upstream=upstream,
                    gates=gates,
                )
                for number, (upstream, gates) in enumerate(waits)
            ),
            gates=tuple(PlanGate(tasks=tasks) for tasks in self.gates),
        )


def new_run(plan: Plan) -> tuple[Run, list[Task]]:
    """Return a run of a plan that was just accepted."""
    tasks = [
        Task(
            task_id=f"task{index}",
            index=index,
            asset_key=plan.assets[planned.asset],
            partition_key=planned.partition_key,
            state=TaskState.BLOCKED,
        )
        for index, planned in enumerate(plan.tasks)
    ]
    return Run(run_id=RUN_ID, state=RunState.PENDING), tasks


@st.composite
def dags(draw: st.DrawFn, largest: int = LARGEST) -> Dag:
    """Draw a graph: small ones edge by edge, which shrink well, large ones from a seed."""
    if draw(st.integers(0, 2)) == 0:
        return _small(draw)
    size = draw(st.integers(2, largest))
    width = draw(st.sampled_from([1, 3, 12, size]))
    return _large(size, width, draw(st.integers(0, 4)), random.Random(draw(st.integers(0, 2**32))))


def some_dag(choice: random.Random) -> Dag:
    """Return a graph of any size."""
    size = choice.choice([2, 3, 5, 8, 20, 60, LARGEST])
    return _large(size, choice.choice([1, 3, 12, size]), choice.randrange(4), choice)


def _small(draw: st.DrawFn) -> Dag:
    size = draw(st.integers(2, 7))
    upstream = [
        tuple(sorted(draw(st.sets(st.integers(0, index - 1), max_size=3)))) if index else ()
        for index in range(size)
    ]
    gates: list[tuple[int, ...]] = []
    gates_of: list[tuple[int, ...]] = [()] * size
    if draw(st.booleans()):
        behind = draw(st.integers(1, size - 1))
        members = draw(st.sets(st.integers(0, behind - 1), min_size=1))
        gates.append(tuple(sorted(members)))
        for index in range(behind, size):
            gates_of[index] = (0,) if draw(st.booleans()) else ()
    return Dag(tuple(upstream), tuple(gates_of), tuple(gates))


def _large(size: int, width: int, gates: int, choice: random.Random) -> Dag:
    """Return a graph in which a task waits for up to three of the last ``width`` before it."""
    upstream: list[tuple[int, ...]] = []
    for index in range(size):
        near = range(max(0, index - width), index)
        upstream.append(tuple(sorted(choice.sample(near, min(len(near), choice.randrange(4))))))
    gates_of: list[set[int]] = [set() for _ in range(size)]
    made: list[tuple[int, ...]] = []
    for number in range(gates):
        behind = choice.randrange(1, size)
        made.append(tuple(sorted(choice.sample(range(behind), choice.randint(1, behind)))))
        for index in choice.sample(range(behind, size), choice.randint(1, size - behind)):
            gates_of[index].add(number)
    return Dag(tuple(upstream), tuple(tuple(sorted(found)) for found in gates_of), tuple(made))
