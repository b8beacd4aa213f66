"""What the store reads back that no message of the contract describes."""

from __future__ import annotations

from dataclasses import dataclass

from servo.types.access import ApiKey
from servo.types.plans import Plan
from servo.types.records import Run, Task
from servo.types.requests import CreateRunRequest


class StoredRun:
    """An active run as it was read back."""

    __slots__ = ("plan", "request", "run", "tasks", "tokens")

    def __init__(
        self, run: Run, request: CreateRunRequest, plan: Plan, tasks: list[tuple[Task, int]]
    ) -> None:
        self.run = run
        self.request = request
        self.plan = plan
        self.tasks = [task for task, _ in tasks]
        self.tokens = [token for _, token in tasks]


class CurrentMaterialization:
    """What is current in one partition of an asset."""

    __slots__ = ("has_data", "materialization_id", "path")

    def __init__(self, materialization_id: str, has_data: bool, path: str) -> None:
        self.materialization_id = materialization_id
        self.has_data = has_data
        self.path = path


@dataclass(frozen=True, slots=True)
class StoredKey:
    """An API key as it is stored: what is known of it, and the SHA-256 of its text."""

    key: ApiKey
    digest: bytes
