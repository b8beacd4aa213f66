"""``servo-gen``: print what a project declares, for files, CI and other programs."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from servo import errors
from servo._version import __version__
from servo.cli import _output, _process

if TYPE_CHECKING:
    from servo.manifest import AssetManifest


@click.group(
    cls=_process.PipedGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", "-V", prog_name="servo-gen")
def cli() -> None:
    """Print what a project declares.

    \b
    servo-gen manifest                       the project here, on standard output
    servo-gen manifest -o manifest.json      into a file that you commit
    servo-gen manifest --check manifest.json in CI: does the committed file say the same?
    servo-gen schema -o manifest.schema.json what a manifest looks like, for editors
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped


@cli.command()
@click.argument("path", required=False, type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE instead of standard output.",
)
@click.option(
    "--check",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Compare with FILE, print what changed asset by asset, and exit 1 if anything did.",
)
@click.option(
    "--frozen/--no-frozen",
    default=None,
    help="Refuse assets that have no id in the lockfile yet.  [default: where CI is set]",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Build twice, in two processes with different hash seeds, and refuse a difference.",
)
def manifest(
    path: Path | None,
    output: Path | None,
    check: Path | None,
    frozen: bool | None,
    verify: bool,
) -> int:
    """Print the manifest of the project in PATH as canonical JSON.

    PATH is the directory with assets/ or pyproject.toml; by default it is found from the
    current directory upwards. Standard output gets the manifest and nothing else, whatever the
    project's modules print when they are imported.

    The manifest depends on the source tree and the lockfile only: the same tree gives the same
    bytes on every machine. It says nothing about git, time and user; `servo deploy` adds those.

    New assets get an id, which is written to the lockfile .servo/state.json: commit that file.
    With --frozen new assets are an error, and with --check nothing is written at all.

    \b
    Exit codes: 0 done; 1 --check found changes; 2 modules or definitions are wrong;
    74 a file cannot be read or written; 78 the project or its lockfile cannot be used.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    if output is not None and check is not None:
        raise click.UsageError("--check compares and writes nothing; leave out --output.")
    committed = None if check is None else _read(check)
    from servo.manifest import Project, build_project
    from servo.manifest._garbage import paused_gc

    with paused_gc(), contextlib.redirect_stdout(sys.stderr):
        built = build_project(
            Project.load(path),
            frozen=bool(frozen) if check is not None else frozen,
            write_lockfile=check is None,
            verify=verify,
        )
        data = built.to_canonical_json().encode()
    if check is not None and committed is not None:
        return _compare(committed, built, data, check)
    if output is not None:
        _write(output, data, what="manifest")
    else:
        with _process.told_apart():
            click.echo(data, nl=sys.stdout.isatty())
    return 0


@cli.command()
@click.option(
    "--format",
    "kind",
    type=click.Choice(["json-schema", "descriptor-set"]),
    default="json-schema",
    show_default=True,
    help="json-schema: of the manifest, draft 2020-12; descriptor-set: every file of the contract "
    "and what it imports, binary.",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write to FILE instead of standard output.",
)
def schema(kind: str, output: Path | None) -> int:
    """Print what others need to read what Servo writes.

    The JSON Schema lets an editor or another language validate a manifest.json. Names that are not
    in it are refused, as Servo refuses them; no name is required, so that manifests of older
    versions stay valid.

    The descriptor set is the whole contract, arco.v1, as a FileDescriptorSet: what buf, protoc and
    every protobuf library take in place of .proto files.
    """
    from servo._wire import schema as schemas

    if kind == "json-schema":
        data = schemas.manifest_json_schema().encode()
    elif output is None and sys.stdout.isatty():
        raise click.UsageError("a descriptor set is binary; name a file with --output.")
    else:
        data = schemas.descriptor_set()
    if output is not None:
        _write(output, data, what="schema")
    else:
        with _process.told_apart():
            click.echo(data, nl=False)
    return 0


def main() -> None:
    """Run ``servo-gen`` and exit with its code."""
    from servo.cli.main import invoke

    _process.open_standard_streams()
    _process.keep_stdout()
    _process.watch_streams()
    code = invoke(sys.argv[1:], cli, "servo-gen")
    # What user modules print at exit comes after the document, so it goes elsewhere as well.
    with contextlib.suppress(OSError):
        sys.stdout.close()
    sys.stdout = sys.stderr
    _process.leave_at_once(code)


def _compare(committed: bytes, built: AssetManifest, data: bytes, path: Path) -> int:
    from servo.manifest import AssetManifest
    from servo.manifest.diff import describe, diff

    if data == committed:
        return 0
    old = AssetManifest.from_json(committed, source=str(path))
    # Line numbers and the like say where something stands; they are no change of content.
    if old.fingerprint() == built.fingerprint():
        return 0
    changes = diff(old.assets, built.assets)
    for change in changes:
        _output.echo(describe(change))
    for name in ("tenant_id", "workspace_id", "schedules", "metadata"):
        before, after = getattr(old, name), getattr(built, name)
        if before != after:
            _output.echo(f"~ {name}: {before!r} is now {after!r}")
    _output.echo(
        f"{path} is out of date: write it again with 'servo-gen manifest --output {path}'.",
        err=True,
    )
    return 1


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise errors.FilesystemError(
            f"the manifest {str(path)!r} cannot be read: {error.strerror}; "
            f"write it with 'servo-gen manifest --output {path}'"
        ) from error


def _write(path: Path, data: bytes, *, what: str) -> None:
    from servo.manifest import atomic

    try:
        atomic.write(path.resolve(), data)
    except OSError as error:
        raise errors.FilesystemError(
            f"the {what} cannot be written to {str(path)!r}: {error.strerror}; "
            f"name a file in a directory that exists and has room"
        ) from error


if __name__ == "__main__":
    main()
