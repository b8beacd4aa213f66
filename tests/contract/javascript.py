"""The contract in JavaScript: packages, generated code and programs, made once and kept.

What is made lies in ``tests/contract/js/build``, which is not committed: packages in a folder named
by the hash of the lock file, and in it generated and compiled code in a folder named by the hash
of the protos and of the sources. Editing either makes a new one; what nobody used for a day is
removed.
"""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests/contract/js"
BUILD = SOURCES / "build"
PROTO = ROOT / "proto"
LOCK = ("package.json", "package-lock.json", ".npmrc")
NODE_MAJOR = 20
KEEP_SECONDS = 86_400.0
TIMEOUT = 100.0


class PreparationError(Exception):
    """The packages could not be installed, or the code not be generated or compiled."""


class ReaderError(Exception):
    """protobuf-es refused a message, or the process that runs it ended."""


def programs() -> Path:
    """Return the folder of the compiled programs, making whatever of it is missing.

    Raises:
        PreparationError: A step failed; its output is included.
    """
    BUILD.mkdir(exist_ok=True)
    with _locked(BUILD / "lock"):
        packages = BUILD / f"npm-{_digest(SOURCES / name for name in LOCK)}"
        _make(packages, _install)
        inputs = [*PROTO.rglob("*.proto"), *SOURCES.glob("*.ts"), *SOURCES.glob("*.json")]
        code = packages / f"code-{_digest([*inputs, SOURCES / 'buf.gen.yaml'])}"
        _make(code, _compile)
    return code


@functools.cache
def node() -> str:
    """Return the path of node.

    Raises:
        PreparationError: It is missing, or too old.
    """
    found = shutil.which("node")
    if found is None:
        raise PreparationError(f"node is not on PATH; install Node.js {NODE_MAJOR} or newer")
    version = _run([found, "--version"], cwd=SOURCES).strip()
    if int(version.removeprefix("v").partition(".")[0]) < NODE_MAJOR:
        raise PreparationError(f"{found!r} is {version}; Node.js {NODE_MAJOR} or newer is needed")
    return found


def check_types(folder: Path) -> None:
    """Check the types of the programs in a folder like that of `programs`.

    Raises:
        PreparationError: They are wrong; the compiler's words are included.
    """
    tsc = folder.parent / "node_modules/typescript/bin/tsc"
    _run([node(), str(tsc), "--noEmit", "--project", "."], cwd=folder)


class EsReader:
    """protobuf-es in a process of its own, which lives as long as the ``with`` block.

    Each request is a line of JSON, and so is each answer; ``js/reader.ts`` describes them.
    """

    def __enter__(self) -> Self:
        """Start the process.

        Raises:
            PreparationError: It could not be built.
        """
        self._errors: IO[bytes] = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [node(), "reader.js"],
            cwd=programs(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the process, which ends by itself when there are no more requests."""
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._errors.close()

    def json_of(self, type_name: str, binary: bytes) -> bytes:
        """Read a binary message and print it as canonical JSON.

        Args:
            type_name: Full name of the message, for example ``arco.v1.AssetKey``.
            binary: The message.

        Raises:
            ReaderError: protobuf-es refuses it.
        """
        return self._ask(type_name, "to_json", binary)

    def binary_of(self, type_name: str, text: bytes) -> bytes:
        """Read JSON and encode it with the entries of maps sorted by key.

        Args:
            type_name: Full name of the message, for example ``arco.v1.AssetKey``.
            text: The message as JSON.

        Raises:
            ReaderError: protobuf-es refuses it.
        """
        return self._ask(type_name, "to_binary", text)

    def _ask(self, type_name: str, op: str, data: bytes) -> bytes:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"type": type_name, "op": op, "data": base64.b64encode(data).decode()}
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError as exc:
            raise ReaderError(self._last_words()) from exc
        line = self._process.stdout.readline()
        if not line:
            raise ReaderError(self._last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise ReaderError(f"{type_name}, {op}: {answer['error']}")
        return base64.b64decode(answer["ok"])

    def _last_words(self) -> str:
        code = self._process.wait(10)
        self._errors.seek(0)
        return f"the reader ended with {code}:\n{self._errors.read().decode(errors='replace')}"


def _install(folder: Path) -> None:
    for name in LOCK:
        shutil.copy(SOURCES / name, folder)
    npm = shutil.which("npm")
    if npm is None:
        raise PreparationError("npm is not on PATH; install it together with Node.js")
    node()
    _run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline"], cwd=folder)


def _compile(folder: Path) -> None:
    for source in [*SOURCES.glob("*.ts"), SOURCES / "tsconfig.json", SOURCES / "package.json"]:
        shutil.copy(source, folder)
    buf = shutil.which("buf", path=str(Path(sys.executable).parent))
    if buf is None:
        raise PreparationError(
            f"buf is not installed beside {sys.executable!r}; run scripts/dev setup"
        )
    with tempfile.TemporaryDirectory(prefix="servo-buf-") as cache:
        generate = [buf, "generate", "--template", str(SOURCES / "buf.gen.yaml")]
        _run(
            [*generate, "--output", str(folder / "gen")],
            cwd=ROOT,
            path=folder.parents[1] / "node_modules/.bin",
            BUF_CACHE_DIR=cache,
        )
    tsc = folder.parents[1] / "node_modules/typescript/bin/tsc"
    _run([node(), str(tsc), "--project", "."], cwd=folder)


def _make(folder: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder unless it exists; an interrupted attempt leaves nothing that looks done."""
    if folder.exists():
        os.utime(folder)
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="new-") as new:
        inner = Path(new) / "inner"
        inner.mkdir()
        fill(inner)
        inner.rename(folder)
    kind = folder.name.partition("-")[0]
    for other in [*folder.parent.glob(f"{kind}-*"), *folder.parent.glob("new-*")]:
        if time.time() - other.stat().st_mtime > KEEP_SECONDS:
            shutil.rmtree(other)


def _run(command: list[str], *, cwd: Path, path: Path | None = None, **environ: str) -> str:
    before = os.environ.get("PATH", "")
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=os.environ | {"PATH": f"{path}{os.pathsep}{before}" if path else before} | environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise PreparationError(f"{' '.join(command)} could not be run: {exc}") from exc
    if done.returncode:
        raise PreparationError(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        )
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that excludes other processes; the system takes it back from one that dies."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(paths: Iterable[Path]) -> str:
    found = hashlib.sha256()
    for path in sorted(paths):
        found.update(f"{path.relative_to(ROOT).as_posix()}\0".encode())
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()[:16]
