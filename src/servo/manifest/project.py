"""A project on disk: where its root is, where its assets lie, how its modules are imported."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from servo import errors
from servo.config import Settings, load
from servo.config.files import is_configured
from servo.manifest.git import code_version_of

__all__ = ["DEFAULT_ASSET_PATHS", "Project", "default_import_roots", "find_root"]

DEFAULT_ASSET_PATHS: Final = ("assets", "src/assets")
"""Where assets are looked for when ``[tool.servo]`` has no ``paths``."""

_DEFAULT_ID: Final = "default"
_is_plain = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A directory with assets.

    Attributes:
        root: Absolute, symbolic links resolved.
        settings: Effective settings.
        asset_paths: Directories and files in which assets are looked for, absolute.
        import_roots: Directories that are put on the import path, absolute, most specific first.
    """

    root: Path
    settings: Settings
    asset_paths: tuple[Path, ...]
    import_roots: tuple[Path, ...]

    @classmethod
    def load(
        cls,
        root: str | Path | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
        flags: Mapping[str, object] | None = None,
        profile: str | None = None,
    ) -> Self:
        """Load a project.

        Args:
            root: Its directory; by default the nearest one from the current directory upwards
                that has a ``servo.toml``, or ``[tool.servo]`` in its ``pyproject.toml``, else the
                nearest one with ``assets/`` or ``src/assets/``.
            environ: Environment variables; by default those of the process.
            overrides: Settings given as arguments.
            flags: Settings given on the command line.
            profile: The profile to use; by default the one that SERVO_PROFILE names.

        Raises:
            ConfigurationError: There is no project, or its settings are wrong.
        """
        if root is None:
            start = Path.cwd()
            found = find_root(start)
            if found is None:
                raise errors.ConfigurationError(
                    f"no Servo project in {str(start)!r} or above: looked for servo.toml, "
                    f"[tool.servo] in pyproject.toml, assets/ and src/assets/; make one with "
                    f"'servo init NAME' or change to its directory"
                )
        else:
            found = Path(root).resolve()
            if not found.is_dir():
                raise errors.ConfigurationError(
                    f"the project {str(root)!r} is no directory; name the directory that holds "
                    f"assets/ or pyproject.toml"
                )
        project = cls.at(found, environ=environ, overrides=overrides, flags=flags, profile=profile)
        if not project.asset_paths:
            raise errors.ConfigurationError(
                f"the project {str(found)!r} has no assets: neither assets/ nor src/assets/ "
                f"exists; make one of them, set paths in servo.toml or in [tool.servo] of "
                f"pyproject.toml, or start a new project with 'servo init NAME'"
            )
        return project

    @classmethod
    def at(
        cls,
        root: Path,
        *,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, object] | None = None,
        flags: Mapping[str, object] | None = None,
        profile: str | None = None,
    ) -> Self:
        """Describe the project in exactly that directory, which may have no assets at all.

        The arguments are those of `load`.

        Raises:
            ConfigurationError: Its settings are wrong, or name a path that does not exist.
        """
        root = Path(root).resolve()
        settings = load(
            root,
            os.environ if environ is None else environ,
            overrides,
            flags=flags,
            profile=profile,
        )
        return cls(
            root=root,
            settings=settings,
            asset_paths=tuple(_asset_paths(root, settings)),
            import_roots=_import_roots(root, settings),
        )

    @property
    def name(self) -> str:
        """Name of the project's directory."""
        return self.root.name

    @property
    def state_dir(self) -> Path:
        """Directory of everything that Servo keeps about the project: ``.servo``."""
        return self.root / ".servo"

    @property
    def lockfile_path(self) -> Path:
        """The lockfile, ``.servo/state.json``; meant to be committed."""
        return self.state_dir / "state.json"

    @property
    def data_root(self) -> Path:
        """Directory of the tables of the workspace that the settings name; absolute."""
        return self.data_root_of(self.settings.tenant_id, self.settings.workspace_id)

    def data_root_of(self, tenant_id: str, workspace_id: str) -> Path:
        """Return the directory of the tables of a workspace; absolute.

        Two workspaces never share one by default (``docs/adr/0019-data-roots.md``).

        Args:
            tenant_id: The tenant.
            workspace_id: Its workspace.
        """
        if self.settings.data_root:
            text = self.settings.data_root.replace("{tenant}", _folder(tenant_id))
            return Path(text.replace("{workspace}", _folder(workspace_id))).absolute()
        if (tenant_id, workspace_id) == (_DEFAULT_ID, _DEFAULT_ID):
            return self.state_dir / "data"
        place = self.state_dir / "workspaces"
        return place / _folder(tenant_id) / _folder(workspace_id) / "data"

    @property
    def code_version_id(self) -> str:
        """The version of the code: what the settings say, else the commit of the work tree.

        A deployment records it and workers announce it, so that a run can be pinned to it. It has
        ``-dirty`` after the commit where files were changed, and is empty without git.
        """
        return self.settings.code_version_id or code_version_of(self.root)

    def relative(self, path: str | Path) -> str:
        """Return a path relative to the root, separated by ``/``; an outside one as it is."""
        return relative_path(self.root, path)


def _folder(name: str) -> str:
    """Return a directory's name for a tenant or a workspace: itself, if every disk can hold it.

    Others (capital letters are the same as small ones on some disks) end in a digest, so two names
    never share a directory.
    """
    if _is_plain(name):
        return name
    import hashlib

    plain = re.sub(r"[^a-z0-9_-]", "_", name.lower(), flags=re.ASCII)
    return f"{plain[:100]}~{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def find_root(start: Path) -> Path | None:
    """Return the nearest directory from ``start`` upwards that is a project.

    One with a ``servo.toml``, or ``[tool.servo]`` in its ``pyproject.toml``, counts before one that
    merely has a directory called ``assets``: a configured project may have those anywhere.

    Raises:
        ConfigurationError: A ``pyproject.toml`` on the way cannot be parsed.
    """
    start = start.resolve()
    directories = (start, *start.parents)
    for directory in directories:
        if is_configured(directory):
            return directory
    for directory in directories:
        if directory.name == "src" and (directory / "assets").is_dir():
            return directory.parent
        if any((directory / path).is_dir() for path in DEFAULT_ASSET_PATHS):
            return directory
    return None


def relative_path(root: Path, path: str | Path) -> str:
    """Return ``path`` relative to ``root`` and separated by ``/``; an outside one as it is."""
    try:
        return Path(path).relative_to(root).as_posix()
    except ValueError:
        # The code may have been loaded through a symbolic link to the project.
        resolved = Path(path).resolve()
        return resolved.relative_to(root).as_posix() if resolved.is_relative_to(root) else str(path)


def _asset_paths(root: Path, settings: Settings) -> Iterator[Path]:
    if not settings.paths:
        yield from (root / path for path in DEFAULT_ASSET_PATHS if (root / path).is_dir())
        return
    for path in _inside(root, settings, "paths"):
        if path.is_file() and path.suffix != ".py":
            raise errors.ConfigurationError(
                f"'paths' ({_origin(settings, 'paths')}) of the project {str(root)!r} names "
                f"{path.name!r}, which is neither a directory nor a Python file"
            )
        yield path


def default_import_roots(root: Path) -> tuple[Path, ...]:
    """Return the import roots of a project whose settings name none."""
    return tuple(path for path in (root / "src", root) if path.is_dir())


def _import_roots(root: Path, settings: Settings) -> tuple[Path, ...]:
    if settings.import_roots:
        roots = tuple(_inside(root, settings, "import_roots"))
    else:
        roots = default_import_roots(root)
    return tuple(sorted(roots, key=lambda path: -len(path.parts)))


def _inside(root: Path, settings: Settings, name: str) -> Iterator[Path]:
    for text in getattr(settings, name):
        path = Path(os.path.normpath(root / text))
        said = f"{name!r} ({_origin(settings, name)}) names {text!r}"
        if not path.is_relative_to(root):
            raise errors.ConfigurationError(
                f"{said}, which lies outside of the project {str(root)!r}; paths are relative to it"
            )
        if not path.exists():
            raise errors.ConfigurationError(
                f"{said}, which does not exist in {str(root)!r}; make it or correct the setting"
            )
        yield path


def _origin(settings: Settings, name: str) -> str:
    return settings.origins[name][0].source
