from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from project_files import WriteFiles
from servo import get_registry


@pytest.fixture
def write(tmp_path: Path) -> WriteFiles:
    """Write files, indented as the test likes, below a fresh project directory; return that."""

    def write(files: dict[str, str]) -> Path:
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text))
        return tmp_path

    return write


@pytest.fixture(autouse=True)
def _no_assets_left_behind() -> Iterator[None]:
    with get_registry().collecting():
        yield
    get_registry().clear()
