"""What holds for every test session."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import _regen

ROOT = Path(__file__).resolve().parent.parent

# No deadline: on a busy machine a slow example says something about the machine. In CI the examples
# are the same every time, so that a red build can be repeated; elsewhere each run looks further.
settings.register_profile("local", deadline=None)
settings.register_profile(
    "ci",
    deadline=None,
    derandomize=True,
    max_examples=50,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("thorough", deadline=None, max_examples=2_000)
settings.load_profile("ci" if "CI" in os.environ else "local")


COVERED = frozenset({"integration", "public_api", "unit"})
"""The directories whose tests run under coverage, but for what is slow: it doubles their time, and
the others kill, measure, or start one command after the other."""


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what runs without coverage."""
    directory = item.path.relative_to(ROOT / "tests").parts[0]
    if directory not in COVERED or item.get_closest_marker("slow"):
        item.add_marker("uncovered")


def pytest_configure(config: pytest.Config) -> None:
    """Refuse to test generated code that does not belong to the protos beside it."""
    if hasattr(config, "workerinput"):
        return  # the session that started this worker has looked
    if said := _regen.hash_drift(ROOT):
        lines = "\n".join(f"  {line}" for line in said)
        pytest.exit(
            f"src/servo/_gen does not belong to proto/:\n{lines}\n{_regen.REMEDY}", returncode=3
        )
