"""Put the version into the wheel: its ``servo/_version.py`` is one constant.

The tree's own ``_version.py`` looks for the version of the installation; a wheel knows it. The file
is made outside the tree, which no build changes.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TARGET = "servo/_version.py"


class VersionHook(BuildHookInterface[Any]):
    """Replaces one module in the wheel, and nothing in an editable installation."""

    PLUGIN_NAME = "custom"
    _folder: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the module; `version` is the flavour of the build, not the project's version."""
        if version == "editable":
            return
        self._folder = tempfile.TemporaryDirectory(prefix="servo-version-")
        module = Path(self._folder.name) / "_version.py"
        module.write_text(
            '"""The version of this distribution, written when it was built."""\n\n'
            f'__version__ = "{self.metadata.version}"\n',
            encoding="utf-8",
        )
        build_data["force_include"][str(module)] = TARGET

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what `initialize` wrote."""
        if self._folder is not None:
            self._folder.cleanup()
