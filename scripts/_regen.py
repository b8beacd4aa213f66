"""Generate ``src/servo/_gen`` from ``proto/``, and tell when the two no longer agree.

Run it through ``scripts/regen.sh``. buf drives two generators that come from the environment:
protoc (inside grpcio-tools) for the messages and mypy-protobuf for their stubs. What they write
is made private to this package, three times over:

* imports of ``arco.`` become imports of ``servo._gen.arco.``, so no top-level ``arco`` exists;
* so does the module name that every message class carries, or else pickling one would fail;
* the files are added to a descriptor pool of their own (``_private_pool.py``), so that a program's
  own code for the contract loads in the same process.

``comments.json`` has the comments of the protos, which generated code lacks. ``MANIFEST.json``
records the tools and a SHA-256 for every input and output. Hashes alone tell that somebody edited
a file (:func:`hash_drift`, which needs no tools); generating again tells everything else
(:func:`drift`).
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

ROOT = Path(__file__).resolve().parent.parent
PROTO = Path("proto")
GENERATED = Path("src/servo/_gen")
BASELINE = PROTO / "baseline.binpb"
MANIFEST = "MANIFEST.json"
COMMENTS = "comments.json"
PACKAGE = "arco.v1"
PRIVATE = "servo._gen."
POOL = "scripts/_private_pool.py"
INPUTS = ("buf.gen.yaml", "buf.yaml", POOL)
TOOLS = ("buf-bin", "grpcio-tools", "mypy-protobuf")
REMEDY = "run scripts/regen.sh and commit proto/ together with src/servo/_gen/"

PACKAGE_INIT = (
    '"""Generated from proto/ by scripts/regen.sh; only ``servo._wire`` may import it."""\n'
)
IMPORT = re.compile(r"^(from|import) (?=arco[.\s])", re.MULTILINE)
BUILD = re.compile(r"_builder\.BuildTopDescriptorsAndMessages\(DESCRIPTOR, '(?=arco\.)")
ADD_FILE = re.compile(r"_descriptor_pool\.Default\(\)\.AddSerializedFile\(")
POOL_IMPORT = "from google.protobuf import descriptor_pool as _descriptor_pool\n"
DATABASE = re.compile(
    r"^(from google\.protobuf import symbol_database as _symbol_database"
    r"|_sym_db = _symbol_database\.Default\(\))\n",
    re.MULTILINE,
)
SHARED = re.compile(r"_descriptor_pool|_sym_db|_symbol_database|BuildTopDescriptorsAndMessages")
WELL_KNOWN = re.compile(r"^from google\.protobuf import (\w+_pb2) as", re.MULTILINE)
GENCODE = re.compile(r"^# Protobuf Python Version: (\S+)$", re.MULTILINE)


class RegenError(Exception):
    """A generator failed, or wrote something that cannot be made private."""


def buf(root: Path, *arguments: str) -> None:
    """Run buf in `root` with the generators of this very environment, and no network to miss.

    Raises:
        RegenError: buf is not installed or ended with an error; its own words are included.
    """
    bin_dir = Path(sys.executable).parent
    executable = shutil.which("buf", path=str(bin_dir))
    if executable is None:
        raise RegenError(f"buf is not installed in {bin_dir}; run scripts/dev setup")
    with tempfile.TemporaryDirectory(prefix="servo-buf-") as cache:
        environment = os.environ | {
            "PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}",
            "BUF_CACHE_DIR": cache,
        }
        done = subprocess.run(
            [executable, *arguments],
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()
        raise RegenError(f"buf {' '.join(arguments)} ended with {done.returncode}:\n{said}")


def make_private(text: str, *, name: str) -> str:
    """Move a generated module below ``servo._gen`` and into the descriptor pool of that package.

    Raises:
        RegenError: an import of the top-level package or a use of protobuf's own pool would remain.
    """
    text = IMPORT.sub(rf"\1 {PRIVATE}", text)
    text = text.replace(POOL_IMPORT, f"from {PRIVATE}_pool import add_file, build\n")
    text = DATABASE.sub("", text)
    text = ADD_FILE.sub("add_file(", text)
    text = BUILD.sub(f"build(DESCRIPTOR, '{PRIVATE}", text)
    if left := SHARED.search(text):
        raise RegenError(f"{name} still uses {left.group()}, which is for protobuf's own pool")
    for node in ast.walk(ast.parse(text, filename=name)):
        match node:
            case ast.Import(names=names):
                imported = [alias.name for alias in names]
            case ast.ImportFrom(module=str(module)):
                imported = [module]
            case _:
                continue
        for module in imported:
            if module.split(".")[0] == "arco":
                raise RegenError(f"{name}:{node.lineno} still imports {module!r}")
    return text


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def hashes(base: Path, paths: list[Path]) -> dict[str, str]:
    return {path.relative_to(base).as_posix(): sha256(path) for path in sorted(paths)}


def input_hashes(root: Path) -> dict[str, str]:
    """SHA-256 of everything that decides what is generated, by path below `root`."""
    protos = list((root / PROTO).rglob("*.proto"))
    return hashes(root, [*(root / name for name in INPUTS), *protos])


def output_hashes(generated: Path) -> dict[str, str]:
    """SHA-256 of every generated file except the manifest, by path below `generated`."""
    files = [
        path
        for path in generated.rglob("*")
        if path.is_file() and path.name != MANIFEST and "__pycache__" not in path.parts
    ]
    return hashes(generated, files)


def tool_versions(generated: Path) -> dict[str, str]:
    """Versions of the generators, and of the protobuf runtime that their code demands."""
    versions = {name: metadata.version(name) for name in TOOLS}
    gencode = {
        match.group(1)
        for path in generated.rglob("*_pb2.py")
        if (match := GENCODE.search(path.read_text(encoding="utf-8")))
    }
    if len(gencode) != 1:
        raise RegenError(f"generated code names these protobuf versions: {sorted(gencode)}")
    return versions | {"protobuf-gencode": gencode.pop()}


def generate(root: Path, out: Path) -> None:
    """Write the whole generated package for the protos of `root` into the empty folder `out`."""
    buf(root, "generate", "--output", str(out))
    for path in sorted([*out.rglob("*.py"), *out.rglob("*.pyi")]):
        name = path.relative_to(out).as_posix()
        path.write_text(make_private(path.read_text(encoding="utf-8"), name=name), encoding="utf-8")
    for folder in [out, *(path for path in out.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").write_text(PACKAGE_INIT, encoding="utf-8")
    shutil.copyfile(root / POOL, out / "_pool.py")
    check_well_known(out)
    write_json(out / COMMENTS, comments(root))
    manifest = {
        "inputs": input_hashes(root),
        "outputs": output_hashes(out),
        "tools": tool_versions(out),
    }
    write_json(out / MANIFEST, manifest)


def check_well_known(out: Path) -> None:
    """See that the private pool holds what the generated modules import of protobuf's own files.

    Raises:
        RegenError: one is missing.
    """
    held = (out / "_pool.py").read_text(encoding="utf-8")
    for path in sorted(out.rglob("*_pb2.py")):
        for module in WELL_KNOWN.findall(path.read_text(encoding="utf-8")):
            if not re.search(rf"^WELL_KNOWN.*\b{module}\b", held, re.MULTILINE):
                raise RegenError(f"{path.name} imports {module}: add it to WELL_KNOWN in {POOL}")


def image(root: Path) -> FileDescriptorSet:
    """The protos of `root` and what they import, compiled, with the source information."""
    # Comparing hashes needs no protobuf, and this module is imported for that alone as well.
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    with tempfile.TemporaryDirectory(prefix="servo-image-") as folder:
        path = Path(folder) / "image.binpb"
        buf(root, "build", "--output", str(path))
        return FileDescriptorSet.FromString(path.read_bytes())


def comments(root: Path) -> dict[str, str]:
    """Every comment of the protos of `root`, by the full name of what it describes."""
    from _comments import comments_of

    return comments_of(image(root), package=PACKAGE)


def write_json(path: Path, value: object) -> None:
    """Write a value in the one layout that generated JSON has."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def install(new: Path, generated: Path) -> list[str]:
    """Make `generated` equal to `new`, touching only what differs; return the paths touched."""
    touched = []
    files = {path.relative_to(new) for path in new.rglob("*") if path.is_file()}
    for name in sorted(files):
        target = generated / name
        content = (new / name).read_bytes()
        if target.is_file() and target.read_bytes() == content:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        touched.append(name.as_posix())
    for path in sorted(generated.rglob("*"), reverse=True):
        if path.is_file() and path.relative_to(generated) not in files:
            path.unlink()
            if "__pycache__" not in path.parts:
                touched.append(path.relative_to(generated).as_posix())
        elif path.is_dir() and not any(path.iterdir()):
            path.rmdir()
    return touched


def compare(
    recorded: dict[str, str], found: dict[str, str], *, changed: str, below: Path
) -> list[str]:
    """Say, path by path, how `found` differs from what the manifest has on record."""
    said = []
    for name in sorted(recorded.keys() | found.keys()):
        path = (below / name).as_posix()
        if name not in found:
            said.append(f"{path}: deleted")
        elif name not in recorded:
            said.append(f"{path}: added")
        elif recorded[name] != found[name]:
            said.append(f"{path}: {changed}")
    return said


def read_manifest(generated: Path) -> dict[str, Any]:
    """The manifest of a generated package.

    Raises:
        RegenError: it is missing or unreadable.
    """
    path = generated / MANIFEST
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RegenError(f"cannot read {path}: {error}; {REMEDY}") from error
    return manifest


def hash_drift(root: Path) -> list[str]:
    """Every input and generated file that differs from the manifest, by hashes alone.

    Needs none of the generators, takes milliseconds, and so runs before every test session.
    """
    try:
        manifest = read_manifest(root / GENERATED)
    except RegenError as error:
        return [str(error)]
    return [
        *compare(
            manifest["inputs"],
            input_hashes(root),
            changed="edited since the code was generated",
            below=Path(),
        ),
        *compare(
            manifest["outputs"],
            output_hashes(root / GENERATED),
            changed="edited by hand",
            below=GENERATED,
        ),
    ]


def drift(root: Path) -> list[str]:
    """Everything in which the committed package differs from one generated now."""
    said = hash_drift(root)
    with tempfile.TemporaryDirectory(prefix="servo-regen-") as folder:
        new = Path(folder)
        generate(root, new)
        fresh = read_manifest(new)
    try:
        committed = read_manifest(root / GENERATED)
    except RegenError:
        return said  # hash_drift has said so
    said += [
        f"generator {name}: generated with {committed['tools'].get(name)}, installed is {version}"
        for name, version in sorted(fresh["tools"].items())
        if committed["tools"].get(name) != version
    ]
    if not said:
        # A manifest edited together with its file agrees with the file, yet not with the protos.
        said = compare(
            committed["outputs"],
            fresh["outputs"],
            changed="not what the generators write",
            below=GENERATED,
        )
    return said


def main(arguments: list[str] | None = None) -> int:
    """Run ``scripts/regen.sh``: 0 done or clean, 1 drift, 2 could not run."""
    parser = argparse.ArgumentParser(prog="scripts/regen.sh", description="Generate servo._gen.")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="write nothing; exit 1 on any drift")
    mode.add_argument(
        "--accept-baseline",
        action="store_true",
        help=f"make today's protos the image that `buf breaking` compares with ({BASELINE})",
    )
    options = parser.parse_args(arguments)
    root: Path = options.root
    try:
        if options.accept_baseline:
            buf(root, "build", "--exclude-source-info", "--output", BASELINE.as_posix())
            print(f"{BASELINE}: {sha256(root / BASELINE)[:12]}; commit it on its own")
            return 0
        if options.check:
            said = drift(root)
            for line in said:
                print(f"regen: {line}", file=sys.stderr)
            if said:
                print(f"regen: {REMEDY}", file=sys.stderr)
            return 1 if said else 0
        with tempfile.TemporaryDirectory(prefix="servo-regen-") as folder:
            generate(root, Path(folder))
            touched = install(Path(folder), root / GENERATED)
        for name in touched:
            print(f"{GENERATED.as_posix()}/{name}")
        print(f"{len(touched)} files changed")
    except RegenError as error:
        print(f"regen: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
