"""Plans (``run.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import run_pb2 as pb
from servo._wire.keys import (
    asset_key_from_proto,
    asset_key_to_proto,
    partition_key_from_proto,
    partition_key_to_proto,
)
from servo.types.plans import Plan, PlanGate, PlannedTask


def planned_task_to_proto(task: PlannedTask, message: pb.PlannedTask) -> None:
    """Fill in one task of a plan."""
    message.asset = task.asset
    partition_key_to_proto(task.partition_key, message.partition_key)
    message.upstream.extend(task.upstream)
    message.gates.extend(task.gates)


def planned_task_from_proto(message: pb.PlannedTask) -> PlannedTask:
    """Read one task of a plan.

    Raises:
        ValueError: The partition key is malformed.
    """
    return PlannedTask(
        asset=message.asset,
        partition_key=partition_key_from_proto(message.partition_key),
        upstream=tuple(message.upstream),
        gates=tuple(message.gates),
    )


def plan_gate_to_proto(gate: PlanGate, message: pb.PlanGate) -> None:
    """Fill in a gate."""
    message.tasks.extend(gate.tasks)


def plan_gate_from_proto(message: pb.PlanGate) -> PlanGate:
    """Read a gate."""
    return PlanGate(tasks=tuple(message.tasks))


def plan_to_proto(plan: Plan, message: pb.Plan) -> None:
    """Fill in a plan."""
    for key in plan.assets:
        asset_key_to_proto(key, message.assets.add())
    for task in plan.tasks:
        planned_task_to_proto(task, message.tasks.add())
    for gate in plan.gates:
        plan_gate_to_proto(gate, message.gates.add())


def plan_from_proto(message: pb.Plan) -> Plan:
    """Read a plan.

    Raises:
        ValueError: An asset key or a partition key is malformed.
    """
    return Plan(
        assets=tuple([asset_key_from_proto(key) for key in message.assets]),
        tasks=tuple([planned_task_from_proto(task) for task in message.tasks]),
        gates=tuple([plan_gate_from_proto(gate) for gate in message.gates]),
    )
