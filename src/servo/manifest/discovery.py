"""Finding the assets of a project by importing its modules."""

from __future__ import annotations

import contextlib
import importlib
import sys
import textwrap
import threading
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, Final

from servo import _extras, errors
from servo._registry import get_registry
from servo.asset import Asset
from servo.manifest._garbage import paused_gc
from servo.manifest._import_path import import_first
from servo.manifest._importing import ExitCalled, contained
from servo.manifest._source_files import SourceFile, module_parts, source_files
from servo.manifest.project import Project
from servo.manifest.project_code import ProjectCode
from servo.manifest.project_imports import importing

__all__ = ["AssetDiscovery", "ImportFailure"]

_lock = threading.Lock()
# Modules that an earlier discovery loaded from a project: the next one must not find them, since
# they may belong to another project of the same layout, or be out of date.
_project_modules: set[str] = set()


@dataclass(frozen=True, slots=True, order=True)
class ImportFailure:
    """Why a module could not be imported.

    Attributes:
        file: Where the error is, relative to the project.
        line: Its line, starting with 1; zero when unknown.
        error: The error's type and message, in one line.
        source: The line that is no Python with a mark below the place; empty for other errors.
    """

    file: str
    line: int
    error: str
    source: str = ""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        source = f"\n{textwrap.indent(self.source, '    ')}" if self.source else ""
        return f"{where}: {self.error}{source}"


class AssetDiscovery:
    """Finds the assets of a project.

    Args:
        root_path: The project's directory; by default found from the current one upwards.
        project: The project itself, when it was loaded already.
        code: The project's code, from which its modules are imported; by default as it is now.
    """

    def __init__(
        self,
        root_path: str | Path | None = None,
        *,
        project: Project | None = None,
        code: ProjectCode | None = None,
    ) -> None:
        if project is None:
            project = Project.load() if root_path is None else Project.at(_directory(root_path))
        self.project = project
        self._code = code

    def discover(self) -> list[Asset[..., Any]]:
        """Import every asset module and return the assets, sorted by key.

        Modules are imported under their real names, so relative imports work. What they print
        goes to standard error. Afterwards the process registry holds the assets too.

        Raises:
            DiscoveryError: Some modules failed; ``failures`` has an `ImportFailure` for each
                place, and the message lists them.
        """
        files = source_files(self.project)
        code = self._code or ProjectCode(self.project.import_roots)
        with (
            _lock,
            _import_path(self.project),
            importing(code),
            contained(),
            paused_gc(),
        ):
            _forget_modules(files)
            importlib.invalidate_caches()
            before = set(sys.modules)
            registry = get_registry()
            with registry.collecting() as collected:
                try:
                    modules, failures = _import_all(self.project, files)
                finally:
                    _remember_modules(self.project, before)
                assets = {id(asset): asset for asset in [*collected.all(), *_assets_in(modules)]}
                # A module that was imported before this discovery has not registered them again.
                for asset in assets.values():
                    if collected.get(asset.key) is None:
                        collected.register(asset)
        if failures:
            raise _discovery_error(failures, len(files))
        return sorted(assets.values(), key=lambda asset: asset.key)


def _directory(root_path: str | Path) -> Path:
    path = Path(root_path)
    if not path.is_dir():
        raise errors.ConfigurationError(
            f"the project {str(root_path)!r} is no directory; name the directory that holds assets/"
        )
    return path


@contextlib.contextmanager
def _import_path(project: Project) -> Iterator[None]:
    """Put the import roots first; take them away again, so that projects do not mix."""
    saved = list(sys.path)
    import_first(project.import_roots)
    sys.path[:0] = [str(root) for root in project.import_roots]
    try:
        yield
    finally:
        sys.path[:] = saved


def _forget_modules(files: Iterable[SourceFile]) -> None:
    """Remove modules that earlier discoveries loaded, and others that stand in the way."""
    expected = {file.module: file.path for file in files}
    for top in {module.partition(".")[0] for module in expected}:
        for name in [name for name in sys.modules if name.partition(".")[0] == top]:
            if top in sys.stdlib_module_names:
                continue  # every library uses it; `_check_origin` says what is wrong
            path = expected.get(name)
            loaded = _file_of(sys.modules[name])
            if path is not None and loaded is not None and loaded != path:
                _project_modules.update(
                    other for other in sys.modules if other.partition(".")[0] == top
                )
    for name in _project_modules:
        sys.modules.pop(name, None)
    _project_modules.clear()


def _remember_modules(project: Project, before: set[str]) -> None:
    for name in sys.modules.keys() - before:
        module = sys.modules[name]
        path = _file_of(module)
        if path is None:
            # A namespace package has no file; it belongs to the project if it starts there.
            inside = any(Path(one).is_relative_to(project.root) for one in _search_path(module))
        else:
            inside = path.is_relative_to(project.root) and "site-packages" not in path.parts
        if inside:
            _project_modules.add(name)


def _file_of(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    return Path(file) if isinstance(file, str) else None


def _search_path(module: ModuleType) -> list[str]:
    return [one for one in getattr(module, "__path__", ()) if isinstance(one, str)]


def _import_all(
    project: Project, files: Iterable[SourceFile]
) -> tuple[list[ModuleType], list[ImportFailure]]:
    modules: list[ModuleType] = []
    failures: set[ImportFailure] = set()
    for file in files:
        try:
            _check_name(project, file)
            module = importlib.import_module(file.module)
            _check_origin(module, file)
        except KeyboardInterrupt as error:
            error.add_note(f"It was importing {project.relative(file.path)}.")
            raise
        # User code may raise anything, sys.exit() included; all of it is reported, none ends us.
        except BaseException as error:
            failures.add(_failure(project, file, error))
        else:
            modules.append(module)
    return modules, sorted(failures)


def _check_name(project: Project, file: SourceFile) -> None:
    if file.path.is_symlink() and not file.path.exists():
        raise ImportError(f"the link leads to {str(file.path.readlink())!r}, where nothing is")
    dotted = [part for part in module_parts(project, file.path) if "." in part]
    if dotted:
        raise ImportError(
            f"the name {dotted[0]!r} has a dot, which separates packages in Python; rename it, "
            f"such as to {dotted[0].replace('.', '_')!r}"
        )


def _check_origin(module: ModuleType, file: SourceFile) -> None:
    loaded = _file_of(module)
    if loaded is not None and loaded != file.path and not loaded.samefile(file.path):
        raise ImportError(
            f"the module name {file.module!r} leads to {str(loaded)!r}; add an __init__.py to "
            f"the project's package {file.module.partition('.')[0]!r} or rename it"
        )


def _assets_in(modules: Iterable[ModuleType]) -> Iterator[Asset[..., Any]]:
    for module in modules:
        for value in vars(module).values():
            if isinstance(value, Asset):
                yield value


def _failure(project: Project, file: SourceFile, error: BaseException) -> ImportFailure:
    path, line = str(file.path), 0
    if isinstance(error, SyntaxError) and error.filename:
        path, line = error.filename, error.lineno or 0
    elif (place := _deepest_place(error.__traceback__, project.root)) is not None:
        path, line = place
    if isinstance(error, ExitCalled):
        text = f"the module calls os._exit({error.status!r}) when it is imported"
    elif isinstance(error, SystemExit):
        text = f"SystemExit: the module calls sys.exit({error.code!r}) when it is imported"
    else:
        text = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, ModuleNotFoundError) and error.name in _extras.EXTRAS:
        text += f" ({_extras.remedy(error.name)})"
    return ImportFailure(project.relative(path), line, " ".join(text.split()), _source(error))


def _source(error: BaseException) -> str:
    """Return the line that is no Python, marked as Python marks it."""
    if not isinstance(error, SyntaxError) or not error.text:
        return ""
    *printed, _ = traceback.format_exception_only(error)
    return textwrap.dedent("".join(printed[1:])).rstrip()


def _deepest_place(start: TracebackType | None, root: Path) -> tuple[str, int] | None:
    """Return the innermost place of a traceback that is the project's own."""
    place = None
    for frame, line in traceback.walk_tb(start):
        path = frame.f_code.co_filename
        if Path(path).is_relative_to(root) and "site-packages" not in path:
            place = path, line
    return place


_MOST_LISTED: Final = 50


def _discovery_error(failures: list[ImportFailure], count: int) -> errors.DiscoveryError:
    lines = [textwrap.indent(str(failure), "  ") for failure in failures[:_MOST_LISTED]]
    if len(failures) > _MOST_LISTED:
        lines.append(f"  … and {len(failures) - _MOST_LISTED} more")
    error = errors.DiscoveryError(
        "\n".join(
            [
                f"{len(failures)} error{'s' if len(failures) > 1 else ''} while importing "
                f"{count} asset module{'' if count == 1 else 's'}; fix them and try again:",
                *lines,
            ]
        ),
        context={"failures": len(failures)},
    )
    error.failures = tuple(failures)
    return error
