"""``servo init``: a new project that works at once."""

from __future__ import annotations

import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import click

from servo import errors
from servo.cli import _output

_PLACEHOLDER: Final = "my-project"
_is_name = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?", re.ASCII).fullmatch
_RENAMED: Final = {"gitignore": ".gitignore"}


@click.command()
@click.argument("name")
def init(name: str) -> None:
    """Make a project in the new directory NAME: two assets, a partition, some checks.

    NAME may be a path; its last part is the project's name.
    """
    target = Path(name)
    if not _is_name(target.name):
        raise errors.InvalidArgumentError(
            f"{target.name!r} cannot be the name of a project: use letters, digits, '-', '_' "
            f"and '.', beginning and ending with a letter or a digit"
        )
    try:
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise errors.ConflictError(
                f"{name!r} exists and is not an empty directory; choose another name"
            )
        written = list(_copy(files("servo.cli") / "template", target, target.name))
    except OSError as exc:
        raise errors.FilesystemError(f"cannot make the project {name!r}: {exc}") from exc
    _output.echo(f"Made {target}:")
    for path in written:
        _output.echo(f"  {path}")
    _output.echo(f"\nNext:\n  cd {target}\n  servo run '*' --all-partitions")


def _copy(source: Traversable, target: Path, name: str) -> list[Path]:
    written: list[Path] = []
    target.mkdir(parents=True, exist_ok=True)
    for item in sorted(source.iterdir(), key=lambda item: item.name):
        path = target / _RENAMED.get(item.name, item.name)
        if item.is_dir():
            # Byte code of the template appears when the package is compiled at installation.
            if item.name != "__pycache__":
                written += _copy(item, path, name)
        elif not item.name.endswith((".pyc", ".pyo")):
            path.write_text(
                item.read_text(encoding="utf-8").replace(_PLACEHOLDER, name), encoding="utf-8"
            )
            written.append(path)
    return written
