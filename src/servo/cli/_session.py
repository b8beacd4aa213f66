"""What every command receives: where the project is, loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from servo.cli._connect import Connection
    from servo.manifest.project import Project


@dataclass
class Session:
    """One invocation of the command line.

    Attributes:
        root: The project's directory as given by ``--project``; ``None`` to search for it.
        overrides: Settings given by options of the command; they win over every other source.
    """

    root: Path | None = None
    overrides: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def project(self) -> Project:
        """The project.

        Raises:
            ConfigurationError: There is none here, or its settings are wrong; the message says
                what to do.
        """
        from servo.manifest.project import Project

        return Project.load(self.root, overrides=self.overrides)

    @cached_property
    def is_remote(self) -> bool:
        """Whether a server is configured, so that no project is needed to reach it."""
        return bool(self._place.settings.api_url)

    @property
    def has_store(self) -> bool:
        """Whether there is a control plane to ask; looking at one must not make it."""
        from servo.cli._state import StateFiles

        return self.is_remote or StateFiles(self.project.state_dir).database.exists()

    def connect(self, *, for_run: bool = False) -> Connection:
        """Prepare a connection to the control plane; enter it to open it.

        A configured server can be used from anywhere, a project's own only inside a project.

        Args:
            for_run: A run is going to be created.
        """
        from servo.cli._connect import Connection

        return Connection(self._place, for_run=for_run)

    @cached_property
    def _place(self) -> Project:
        from servo.manifest.project import Project, find_root

        if self.root is None and find_root(Path.cwd()) is None:
            nowhere = Project.at(Path.cwd(), overrides=self.overrides)
            if nowhere.settings.api_url:
                return nowhere
        return self.project

    def override(self, **values: object) -> None:
        """Override settings by the options of a command; ``None`` means not given."""
        given = {name: value for name, value in values.items() if value is not None}
        self.overrides = {**self.overrides, **given}


pass_session = click.make_pass_decorator(Session)
"""Gives a command its `Session` as first argument."""
