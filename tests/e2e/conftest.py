from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import distributions
from distributions import Distributions
from servo_project import ServoProject


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """What is released, built once a session."""
    return distributions.build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ServoProject]:
    """An empty project, and `servo` in it."""
    root = tmp_path / "shop"
    (root / "assets").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.servo]\n")
    found = ServoProject(root)
    yield found
    found.close()
