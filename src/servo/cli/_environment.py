"""Compares the environments of two processes of a project without keeping a value of either.

A task runs with the environment of the control plane's worker, which is that of the command that
started it. A command that creates a run compares first. The control plane publishes a salted digest
of each variable, so that names can be compared and values cannot be read.
"""

from __future__ import annotations

import fnmatch
import hashlib
import hmac
import os
import secrets
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from servo._version import __version__
from servo.config.settings import setting_fields, variable

if TYPE_CHECKING:
    from servo.manifest.project import Project

IGNORED: Final[Mapping[str, tuple[str, ...]]] = {
    "the shell": (
        "_", "PWD", "OLDPWD", "SHLVL", "SHELL", "PS1", "PS2", "PS3", "PS4", "PROMPT*", "RPROMPT",
        "HIST*", "STARSHIP_*", "P9K_*", "POWERLEVEL9K_*", "LS_COLORS", "LSCOLORS", "DIRENV_*",
        "MAIL", "SUDO_*", "COMP_*", "EDITOR", "VISUAL", "PAGER", "LESS*", "MANPATH", "INFOPATH",
    ),
    "the terminal": (
        "TERM*", "COLORTERM", "COLORFGBG", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR",
        "CLICOLOR*", "WINDOWID", "WINDOWPATH", "VTE_VERSION", "KONSOLE_*", "KITTY_*", "ITERM_*",
        "LC_TERMINAL*", "GHOSTTY_*", "WEZTERM_*", "ALACRITTY_*", "TILIX_ID", "GNOME_TERMINAL_*",
        "WT_SESSION", "WT_PROFILE_ID", "WSL_INTEROP", "GPG_TTY", "TMUX*", "STY", "WINDOW",
        "ZELLIJ*", "BYOBU_*",
    ),
    "the login and the desktop": (
        "SSH_*", "XDG_SESSION_*", "XDG_VTNR", "XDG_SEAT*", "XDG_RUNTIME_DIR", "DISPLAY",
        "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_*", "DESKTOP_*", "SESSION_MANAGER", "GNOME_*",
        "KDE_*", "GPG_AGENT_INFO", "SECURITYSESSIONID", "XPC_*", "__CF*", "INVOCATION_ID",
        "JOURNAL_STREAM", "SYSTEMD_EXEC_PID", "MANAGERPID", "MEMORY_PRESSURE_*",
    ),
    "editors": (
        "VSCODE_*", "ELECTRON_*", "CURSOR_*", "CHROME_DESKTOP", "GIT_ASKPASS", "INSIDE_EMACS",
        "VIM", "VIMRUNTIME", "NVIM*", "MYVIMRC", "PYCHARM_*", "IDEA_*", "BUNDLED_DEBUGPY_PATH",
    ),
    "one command or one step of a pipeline": (
        "TRACEPARENT", "TRACESTATE", "GITHUB_ACTION*", "GITHUB_ENV", "GITHUB_OUTPUT",
        "GITHUB_PATH", "GITHUB_STATE", "GITHUB_STEP_SUMMARY", "PYTEST_CURRENT_TEST", "COVERAGE_*",
    ),
    "Python, whose interpreter is compared itself": (
        "VIRTUAL_ENV", "VIRTUAL_ENV_PROMPT", "CONDA_SHLVL", "CONDA_PROMPT_MODIFIER",
        "PYTHONUNBUFFERED", "__PYVENV_LAUNCHER__",
    ),
}  # fmt: skip
"""Variables that differ between terminals and change nothing that a task does, by their origin."""

_COMPARED_SETTINGS: Final = (
    "import_roots", "worker_slots", "lease_seconds", "cancel_grace_seconds", "code_version_id",
)  # fmt: skip
_OURS: Final = frozenset(
    {variable("project"), variable("profile"), *(variable(one.name) for one in setting_fields())}
)
_MOST_NAMED: Final = 10
_DIGEST_BYTES: Final = 8


def facts(environ: Mapping[str, str], project: Project) -> dict[str, str]:
    """Return what a task of this process would see, by name.

    Variables that are settings are left out: what counts is the setting, wherever it was written.

    Args:
        environ: The variables.
        project: The project with its settings.
    """
    found = {name: value for name, value in environ.items() if name not in _OURS}
    patterns = [pattern for group in IGNORED.values() for pattern in group]
    for name in _matching(found, patterns):
        del found[name]
    if "PATH" in found:
        found["PATH"] = _path(found["PATH"])
    settings = project.settings
    found |= {f"setting {name}": str(getattr(settings, name)) for name in _COMPARED_SETTINGS}
    # Not of one workspace: the control plane serves several.
    root = settings.data_root and str(Path(settings.data_root).absolute())
    found |= {
        "setting data_root": root,
        "setting profile": settings.profile,
        "the Python interpreter": f"{sys.executable}\n{sys.prefix}",
        "the version of Servo": __version__,
    }
    return found


def _path(text: str) -> str:
    """Return a search path without the interpreter's directory, which an activated one has."""
    own = {str(Path(sys.executable).parent), str(Path(sys.prefix, "bin"))}
    return os.pathsep.join(
        dict.fromkeys(part for part in text.split(os.pathsep) if part and part not in own)
    )


def _matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    known = tuple(patterns)
    return [name for name in names if any(fnmatch.fnmatchcase(name, one) for one in known)]


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment without its values.

    Attributes:
        salt: What the digests are keyed with; random.
        digests: The digest of each value by name.
    """

    salt: str
    digests: Mapping[str, str] = field(repr=False)

    @classmethod
    def of(cls, found: Mapping[str, str], salt: str = "") -> Self:
        """Describe an environment.

        Args:
            found: What `facts` returned.
            salt: The salt; a new one when left out.
        """
        salt = salt or secrets.token_hex(16)
        key = bytes.fromhex(salt)
        digests = {
            name: hmac.new(
                key, f"{name}={value}".encode("utf-8", "surrogateescape"), hashlib.sha256
            ).hexdigest()[: 2 * _DIGEST_BYTES]
            for name, value in found.items()
        }
        return cls(salt, digests)

    @classmethod
    def from_document(cls, document: Any) -> Self | None:
        """Read what `to_document` made; ``None`` where a file of an older version has none."""
        if not isinstance(document, dict):
            return None
        digests = {str(name): str(digest) for name, digest in dict(document["digests"]).items()}
        bytes.fromhex(document["salt"])
        return cls(document["salt"], digests)

    def to_document(self) -> dict[str, object]:
        """Return it as a JSON document."""
        return {"salt": self.salt, "digests": dict(self.digests)}

    def differences(self, here: Mapping[str, str], ignore: Iterable[str] = ()) -> list[str]:
        """Say how another environment differs: names, never values.

        Args:
            here: What `facts` returned in the other process.
            ignore: Patterns of names that may differ.

        Returns:
            One phrase for each difference, sorted by name.
        """
        mine, theirs = Environment.of(here, self.salt).digests, self.digests
        names = {name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name)}
        names.difference_update(_matching(names, ignore))
        return [
            f"{name} is set here only"
            if name not in theirs
            else f"{name} is not set here"
            if name not in mine
            else f"{name} has another value"
            for name in sorted(names)
        ]


def listed(differences: list[str]) -> str:
    """Return differences as one text, cut after some."""
    more = len(differences) - _MOST_NAMED
    rest = f", and {more} more" if more > 0 else ""
    return ", ".join(differences[:_MOST_NAMED]) + rest
