"""What every command receives: where the project is, loaded on first use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from servo.cli import _output

if TYPE_CHECKING:
    from servo.cli._connect import Connection
    from servo.config import Settings
    from servo.manifest.project import Project


@dataclass
class Session:
    """One invocation of the command line.

    Attributes:
        root: The project's directory as given by ``--project``; ``None`` to search for it.
        profile: The profile as given by ``--profile``; ``None`` for what the environment says.
        flags: Settings given by options of the command; they win over files and environment.
    """

    root: Path | None = None
    profile: str | None = None
    flags: Mapping[str, object] = field(default_factory=dict)

    @cached_property
    def project(self) -> Project:
        """The project.

        Raises:
            ConfigurationError: There is none here, or its settings are wrong; the message says
                what to do.
        """
        from servo.manifest.project import Project

        project = Project.load(self.root, flags=self.flags, profile=self.profile)
        _apply(project.settings)
        return project

    @cached_property
    def settings(self) -> Settings:
        """The settings, which do not need a project: those of this directory where there is none.

        Raises:
            ConfigurationError: They are wrong; the message says what to do.
        """
        return self.directory.settings

    @cached_property
    def directory(self) -> Project:
        """The project, or what its settings would be in a directory that is none."""
        from servo.manifest.project import Project, find_root

        if self.root is not None and not self.root.is_dir():
            return self.project
        root = self.root or find_root(Path.cwd()) or Path.cwd()
        found = Project.at(root, flags=self.flags, profile=self.profile)
        _apply(found.settings)
        return found

    @cached_property
    def is_remote(self) -> bool:
        """Whether a server is configured, so that no project is needed to reach it."""
        return bool(self._place.settings.api_url)

    @property
    def has_store(self) -> bool:
        """Whether there is a control plane to ask; looking at one must not make it."""
        from servo.cli._state import StateFiles

        return self.is_remote or StateFiles(self.project.state_dir).database.exists()

    def connect(self, *, for_run: bool = False, any_environment: bool = False) -> Connection:
        """Prepare a connection to the control plane; enter it to open it.

        A configured server can be used from anywhere, a project's own only inside a project.

        Args:
            for_run: A run is going to be created.
            any_environment: Its tasks may have another environment than this command.
        """
        from servo.cli._connect import Connection

        return Connection(self._place, for_run=for_run, any_environment=any_environment)

    @cached_property
    def _place(self) -> Project:
        if self.settings.api_url and not self.directory.asset_paths:
            return self.directory
        return self.project

    def override(self, **values: object) -> None:
        """Override settings by the options of a command; ``None`` means not given."""
        given = {name: value for name, value in values.items() if value is not None}
        self.flags = {**self.flags, **given}


def _apply(settings: Settings) -> None:
    """Let the settings that concern this process itself take effect."""
    from servo.config.logs import configure_logging

    _output.show_tracebacks(settings.debug)
    _output.hide(settings.api_key)
    configure_logging(settings, default_level="warning")


pass_session = click.make_pass_decorator(Session)
"""Gives a command its `Session` as first argument."""

any_environment_option = click.option(
    "--any-environment",
    is_flag=True,
    help="Accept that variables differ from those of the control plane at work; its own count.",
)
"""For commands whose tasks would run with the environment of another process."""
