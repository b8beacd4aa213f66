"""The type of the fixture that writes the files of a project."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

WriteFiles = Callable[[dict[str, str]], Path]
