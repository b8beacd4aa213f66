"""Does this installation work? ``python -I -m servo.smoke`` answers, in about a second.

It needs no project, no network and no extra: it looks at what is installed, builds a manifest from
a module of two assets, and talks to a control plane over gRPC. Use it after installing a wheel or
building an image. Each step prints one line; the first that fails ends the program with status 1.

``--example-manifest FILE`` builds the manifest of the example as well, and compares it with that
file; the example needs the extra ``polars``.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import hashlib
import importlib.util
import json
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import servo

if TYPE_CHECKING:
    from servo.manifest import AssetManifest

PROJECT = '''\
"""Two assets, one of which reads the other."""

from servo import AssetContext, AssetIn, AssetOut, DailyPartition, asset, row_count


@asset(partitions=DailyPartition("date", start="2025-01-01"), checks=[row_count(min_rows=1)])
def events(ctx: AssetContext) -> AssetOut:
    """What happened."""
    return ctx.output([{"n": 1}])


@asset
def totals(ctx: AssetContext, events: AssetIn["smoke.events"]) -> AssetOut:
    """How much of it."""
    return ctx.output([{"n": 1}])
'''
# Of the manifest of that project: the same on every machine, for every version.
FINGERPRINT = "91c334bfd48d5b36eef224f75a61d4087e9147d6c5b856a6c5f496bffe53a3a4"


class SmokeError(Exception):
    """A step found something that an installation must not have, or lacks."""


def installed_package() -> str:
    """The package was loaded from where distributions are installed."""
    place = Path(servo.__file__).resolve().parent
    homes = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
    if place.parent not in homes:
        raise SmokeError(f"servo was loaded from {str(place)!r}, not from site-packages")
    return str(place)


def shipped_files() -> str:
    """The typing marker, the generated code and its stubs are there, byte for byte."""
    place = Path(servo.__file__).resolve().parent
    generated = place / "_gen"
    manifest = json.loads((generated / "MANIFEST.json").read_text(encoding="utf-8"))
    for name, wanted in manifest["outputs"].items():
        path = generated / name
        if not path.is_file():
            raise SmokeError(f"{str(path)!r} is missing; the distribution is incomplete")
        if hashlib.sha256(path.read_bytes()).hexdigest() != wanted:
            raise SmokeError(f"{str(path)!r} is not the file that was generated")
    if not (place / "py.typed").is_file():
        raise SmokeError(
            f"{str(place / 'py.typed')!r} is missing; type checkers ignore the package"
        )
    return f"{len(manifest['outputs'])} generated files"


def recorded_version() -> str:
    """The package says the version that the installer has on record."""
    recorded = metadata.version("arco-servo")
    if servo.__version__ != recorded:
        raise SmokeError(f"servo says {servo.__version__!r}; installed is {recorded!r}")
    return recorded


def no_generators() -> str:
    """Nothing that generates code, and no top-level ``arco`` package, came along."""
    tools = ("arco", "betterproto2", "buf", "grpc_tools", "mypy_protobuf")
    if found := [name for name in tools if importlib.util.find_spec(name) is not None]:
        raise SmokeError(f"{found} can be imported; a release installs none of them")
    return "none"


def public_names() -> str:
    """Everything that ``servo`` offers can be loaded."""
    for name in servo.__all__:
        getattr(servo, name)
    return f"{len(servo.__all__)} names"


def manifest_of_two_assets() -> str:
    """Two assets are discovered; their manifest is as it always was, and survives being read."""
    from servo.manifest import AssetManifest

    with tempfile.TemporaryDirectory(prefix="servo-smoke-") as folder:
        module = Path(folder) / "assets" / "smoke.py"
        module.parent.mkdir()
        module.write_text(PROJECT, encoding="utf-8")
        manifest = _manifest_of(Path(folder))
    keys = [str(definition.key) for definition in manifest.assets]
    if keys != ["smoke.events", "smoke.totals"]:
        raise SmokeError(f"the manifest holds {keys}, not the two assets that were written")
    text = manifest.to_canonical_json()
    if AssetManifest.from_json(text).to_canonical_json() != text:
        raise SmokeError("the manifest read from its own JSON prints differently")
    if manifest.fingerprint() != FINGERPRINT:
        raise SmokeError(
            f"the manifest has fingerprint {manifest.fingerprint()}, not {FINGERPRINT}: {text}"
        )
    return f"fingerprint {FINGERPRINT[:12]}"


def example_manifest(golden: Path) -> str:
    """The example that was shipped has the manifest in a file, byte for byte."""
    if importlib.util.find_spec("polars") is None:
        raise SmokeError("the example needs polars: pip install 'arco-servo[polars]'")
    example = Path(servo.__file__).resolve().parent / "_examples/nycflights"
    if not example.is_dir():
        raise SmokeError(f"{str(example)!r} is missing; the distribution is incomplete")
    with tempfile.TemporaryDirectory(prefix="servo-smoke-") as folder:
        # Building writes byte code beside the source; an installation may be read-only.
        copied = shutil.copytree(example, Path(folder) / "nycflights")
        text = _manifest_of(copied).to_canonical_json()
    if text != golden.read_text(encoding="utf-8"):
        raise SmokeError(f"the manifest of {str(example)!r} is not the one in {str(golden)!r}")
    return f"as in {golden.name}"


def _manifest_of(project: Path) -> AssetManifest:
    from servo.manifest import AssetDiscovery, ManifestBuilder

    servo.get_registry().clear()
    builder = ManifestBuilder(tenant_id="default", workspace_id="default", include_git=False)
    return builder.build(AssetDiscovery(project).discover())


def grpc_round_trip() -> str:
    """A control plane starts in this process and answers a client over gRPC."""
    from servo.client import Client
    from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

    def ask(url: str) -> str:
        with Client(url, api_key="smoke", tenant_id="smoke", workspace_id="smoke") as client:
            return client.server.info().servo_version

    async def serve_and_ask(folder: Path) -> str:
        plane = ControlPlane(ControlPlaneConfig(database=folder / "servo.db", api_key="smoke"))
        url = await plane.start()
        try:
            return await asyncio.to_thread(ask, url)
        finally:
            await plane.stop()

    with tempfile.TemporaryDirectory(prefix="servo-smoke-") as folder:
        answered = asyncio.run(serve_and_ask(Path(folder)))
    if answered != servo.__version__:
        raise SmokeError(f"the control plane is version {answered!r}, not {servo.__version__!r}")
    return f"answered by version {answered}"


Step: TypeAlias = Callable[[], str]
STEPS: tuple[Step, ...] = (
    installed_package,
    recorded_version,
    shipped_files,
    no_generators,
    public_names,
    manifest_of_two_assets,
    grpc_round_trip,
)


def main(arguments: list[str] | None = None) -> int:
    """Run every step; return 0 if all of them passed."""
    parser = argparse.ArgumentParser(prog="python -I -m servo.smoke")
    parser.add_argument("--example-manifest", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    steps: dict[str, Step] = {step.__name__: step for step in STEPS}
    if options.example_manifest is not None:
        steps["example_manifest"] = functools.partial(example_manifest, options.example_manifest)
    for key, step in steps.items():
        name = key.replace("_", " ")
        try:
            print(f"{name}: {step()}", flush=True)
        except SmokeError as error:
            print(f"smoke: {name} failed: {error}", file=sys.stderr)
            return 1
    print("smoke: ok")
    return 0


if __name__ == "__main__":
    sys.exit(main())
