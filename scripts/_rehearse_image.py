"""Perform a Dockerfile without Docker: the same files, the same commands, no engine, no root.

Each stage gets an empty folder in place of its root file system. ``COPY`` copies exactly what the
file names and ``.dockerignore`` lets through; ``RUN`` lines run in a shell with an environment of
their own, an empty home, and a fresh virtual environment in place of the image's Python. What a
rehearsal cannot show is the base image itself: its system libraries, and its users.

An absolute path in a ``RUN`` line would be this machine's, so such lines are refused; name the path
by ``ENV`` and it is put into the stage's folder.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import re
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from _dockerfile import DockerfileError, Instruction, Stage, read

ROOT = Path(__file__).resolve().parent.parent
IMAGE_PATH = "/usr/local/bin:/usr/bin:/bin"
IMAGE_PYTHON = "/usr/local/bin"
# Programs that every base image has; the rest of this machine stays out of sight.
SHARED = ("/usr/bin", "/bin", "/dev/null")
# How this machine reaches its package index, and where it keeps what it has fetched.
PASSED_ON = re.compile(r"(PIP|UV|SSL|REQUESTS)_|(HTTPS?|NO|ALL)_PROXY$", re.IGNORECASE)
ABSOLUTE = re.compile(r"(?<![\w}.$*/-])/(?!dev/null\b)\w[\w./-]*")


class RehearsalError(Exception):
    """The image could not be made."""


def is_ignored(path: str, patterns: Sequence[str]) -> bool:
    """Whether ``.dockerignore`` keeps `path`, relative to the context, from the builder.

    The last pattern that matches the path or a folder above it decides.
    """
    last_first = reversed(patterns)
    deciding = next((each for each in last_first if _at_or_above(each.lstrip("!"), path)), "!")
    return not deciding.startswith("!")


def _at_or_above(pattern: str, path: str) -> bool:
    return _as_regex(f"{pattern.strip('/')}/**").fullmatch(f"{path}/") is not None


@functools.cache
def _as_regex(pattern: str) -> re.Pattern[str]:
    tokens = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", pattern)
    return re.compile("".join(tokens.get(part) or re.escape(part) for part in parts), re.DOTALL)


def context_of(root: Path) -> list[str]:
    """Every file below `root` that Docker would see, sorted."""
    listed = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    patterns = [line.strip() for line in listed if line.strip() and not line.startswith("#")]
    # Docker looks at every file; a name at the top that no pattern brings back need not be walked.
    kept = [each.removeprefix("!").split("/")[0] for each in patterns if each.startswith("!")]
    found = []
    for top in sorted(root.iterdir()):
        if any(_as_regex(each).fullmatch(top.name) for each in kept):
            below = [top] if top.is_file() else sorted(top.rglob("*"))
            names = (each.relative_to(root).as_posix() for each in below if each.is_file())
            found += [name for name in names if not is_ignored(name, patterns)]
    return found


@dataclass
class Rehearsal:
    """Stages made so far, below one folder.

    Attributes:
        context: The repository.
        folder: Where everything is made; empty at first.
        given: Values of ``--build-arg``.
        python: The environment that stands for the image's Python; made with pip where absent.
        copied: Every file of the context that a ``COPY`` has taken.
    """

    context: Path
    folder: Path
    given: Mapping[str, str] = field(default_factory=dict)
    python: Path | None = None
    copied: set[str] = field(default_factory=set)
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "root"
    entrypoint: list[str] = field(default_factory=list)

    @functools.cached_property
    def files(self) -> list[str]:
        """The files of the context that Docker would see."""
        return context_of(self.context)

    @property
    def root(self) -> Path:
        """What stands for ``/`` of the stage under way; always the same place, as in an image."""
        return self.folder / "root"

    def inside(self, path: str) -> Path:
        """Where an absolute path of the image lies on this machine."""
        if path == IMAGE_PYTHON:
            return (self.python or self.folder / "python") / "bin"
        if path in SHARED:
            return Path(path)
        return self.root / path.lstrip("/")

    def perform(self, stages: Sequence[Stage]) -> None:
        """Make every stage.

        Raises:
            RehearsalError: A line failed, or cannot be performed without Docker.
        """
        if self.python is None:
            self._make_python()
        for stage in stages:
            if self.root.exists():
                raise RehearsalError("a rehearsal starts in an empty folder")
            self.root.mkdir()
            (self.root / "tmp").mkdir()
            self.env, self.workdir, self.user = {"PATH": IMAGE_PATH}, "/", "root"
            self.entrypoint = []
            for each in stage.instructions:
                self._perform(each)
            if stage is not stages[-1]:
                self.root.rename(self.folder / f"stage-{stage.name}")

    def run(self, command: Sequence[str], **environ: str) -> str:
        """Run a command in the last stage, as a container would; return what it printed.

        Raises:
            RehearsalError: It failed.
        """
        return self._run(list(command), self.env | environ)

    def _make_python(self) -> None:
        made = [sys.executable, "-m", "venv", str(self.folder / "python")]
        done = subprocess.run(made, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RehearsalError(f"cannot make an environment: {done.stdout}{done.stderr}")

    def _perform(self, each: Instruction) -> None:
        print(f"{each.name} {each.text}", flush=True)
        match each.name:
            case "ARG":
                name, equals, default = each.text.partition("=")
                if name in self.given or equals:
                    self.env[name] = self.given.get(name, default)
            case "ENV":
                self.env |= dict(self._pairs(each))
            case "WORKDIR":
                self.workdir = str(Path(self.workdir) / each.text)
                self.inside(self.workdir).mkdir(parents=True, exist_ok=True)
            case "COPY":
                self._copy(each)
            case "USER":
                self.user = each.text
            case "ENTRYPOINT":
                self.entrypoint = json.loads(each.text)
            case "RUN":
                if named := ABSOLUTE.findall(each.text):
                    raise RehearsalError(
                        f"line {each.line}: {named} would be paths of this machine"
                    )
                print(self._run(["/bin/sh", "-c", each.text], self.env), end="", flush=True)

    def _pairs(self, each: Instruction) -> list[tuple[str, str]]:
        found = []
        for word in each.words:
            name, equals, value = word.partition("=")
            if not equals:
                raise RehearsalError(f"line {each.line}: write ENV NAME=VALUE")
            found.append((name, string.Template(value).safe_substitute(self.env)))
        return found

    def _copy(self, each: Instruction) -> None:
        *sources, target = each.operands
        place = self.inside(str(Path(self.workdir) / target))
        if origin := each.options.get("from"):
            for source in sources:
                made = self.folder / f"stage-{origin}" / source.lstrip("/")
                shutil.copytree(made, place, symlinks=True, dirs_exist_ok=True)
            return
        for source in sources:
            wanted = source.rstrip("/")
            pattern = _as_regex(wanted)
            alone = [name for name in self.files if pattern.fullmatch(name)]
            below = [name for name in self.files if name.startswith(f"{wanted}/")]
            if not alone and not below:
                raise RehearsalError(f"line {each.line}: COPY finds no {source!r} in the context")
            into = target.endswith("/") or len(sources) > 1 or len(alone) > 1
            for name in alone:
                self._copy_file(name, place / Path(name).name if into else place)
            for name in below:
                self._copy_file(name, place / name.removeprefix(f"{wanted}/"))

    def _copy_file(self, name: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.context / name, target)
        self.copied.add(name)

    def _run(self, command: list[str], environ: Mapping[str, str]) -> str:
        passed_on = {name: text for name, text in os.environ.items() if PASSED_ON.match(name)}
        translated = {name: self._translated(value) for name, value in environ.items()}
        home = {"HOME": str(self.root / "tmp"), "TMPDIR": str(self.root / "tmp")}
        env = passed_on | caches() | home | translated
        program = shutil.which(command[0], path=env["PATH"])
        if program is None:
            raise RehearsalError(f"{command[0]!r} is not in the image")
        done = subprocess.run(
            [program, *command[1:]],
            cwd=self.inside(self.workdir),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise RehearsalError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def _translated(self, value: str) -> str:
        parts = value.split(":")
        return ":".join(str(self.inside(p)) if p.startswith("/") else p for p in parts)


def caches() -> dict[str, str]:
    """Where pip and uv of this machine keep downloads; they are checked by hash all the same."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "PIP_CACHE_DIR": os.environ.get("PIP_CACHE_DIR", str(home / "pip")),
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR", str(home / "uv")),
    }


def rehearse(
    dockerfile: Path,
    folder: Path,
    *,
    context: Path = ROOT,
    given: Mapping[str, str] | None = None,
    python: Path | None = None,
) -> Rehearsal:
    """Make the image of a Dockerfile below the empty `folder`; the rest as in `Rehearsal`.

    Raises:
        DockerfileError: The file cannot be read.
        RehearsalError: A line failed, or cannot be performed without Docker.
    """
    rehearsal = Rehearsal(context=context, folder=folder, given=given or {}, python=python)
    rehearsal.perform(read(dockerfile.read_text(encoding="utf-8")))
    return rehearsal


def main(arguments: list[str] | None = None) -> int:
    """Rehearse a Dockerfile and run a command in the result: 0 if all of it worked, else 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dockerfile", type=Path, nargs="?", default=ROOT / "Dockerfile")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--then", nargs=argparse.REMAINDER, default=["servo", "--version"])
    options = parser.parse_args(arguments)
    given = dict(each.split("=", 1) for each in options.build_arg)
    with tempfile.TemporaryDirectory(prefix="servo-image-") as folder:
        try:
            made = rehearse(options.dockerfile, Path(folder), given=given)
            print(made.run(options.then), end="")
        except (DockerfileError, RehearsalError) as error:
            print(f"rehearsal: {error}", file=sys.stderr)
            return 1
    print(f"rehearsal: {options.dockerfile.name} works; {len(made.copied)} files were copied")
    return 0


if __name__ == "__main__":
    sys.exit(main())
