"""Reading a Dockerfile, and what ours must and must not contain.

The reader knows the instructions that our files use and refuses the rest, so that nothing is
overlooked by the policy or left out of a rehearsal.
"""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass, field

KNOWN = ("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "FROM", "LABEL", "RUN", "USER", "WORKDIR")
PLAIN_TAG = re.compile(r"(?P<image>[a-z0-9][a-z0-9_/-]*):(?P<tag>\d[\w.-]*)")
SEPARATORS = {"&&", "||", "|", ";", "&"}
DOWNLOADERS = {"curl", "wget", "git"}
GENERATORS = {"buf", "buf-bin", "grpc_tools.protoc", "grpcio-tools", "mypy-protobuf", "protoc"}
DEVELOPMENT = {"build-essential", "gcc", "hypothesis", "mypy", "pyright", "pytest", "ruff"}
ROOT_USERS = {"0", "root"}
OURS = re.compile(r"arco[-_.]servo", re.IGNORECASE)
SECRET = re.compile(r"(?:KEY|PASSWORD|SECRET|TOKEN)(?:_|$)", re.IGNORECASE)


class DockerfileError(Exception):
    """A Dockerfile cannot be read."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, with its continuation lines joined.

    Attributes:
        line: Where it begins.
        name: In upper case.
        text: What follows, white space collapsed at the joints.
    """

    line: int
    name: str
    text: str

    @property
    def words(self) -> list[str]:
        """The text as a shell would split it; operators are words of their own."""
        lexer = shlex.shlex(self.text, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        return list(lexer)

    @property
    def options(self) -> dict[str, str]:
        """Leading ``--name=value`` of the instruction itself."""
        found = {}
        for word in self.text.split():
            if not word.startswith("--"):
                break
            name, _, value = word.removeprefix("--").partition("=")
            found[name] = value
        return found

    @property
    def operands(self) -> list[str]:
        """The words after the options."""
        return self.text.split()[len(self.options) :]


@dataclass(frozen=True, slots=True)
class Stage:
    """One ``FROM`` and what follows it."""

    name: str
    base: str
    instructions: list[Instruction] = field(default_factory=list)

    def every(self, name: str) -> list[Instruction]:
        """Its instructions of one kind."""
        return [each for each in self.instructions if each.name == name]


def read(text: str) -> list[Stage]:
    """Read a Dockerfile into its stages.

    Raises:
        DockerfileError: It uses something that is not understood here.
    """
    stages: list[Stage] = []
    for each in _instructions(text):
        if each.name not in KNOWN:
            raise DockerfileError(f"line {each.line}: {each.name} is not used here; see {KNOWN}")
        if each.name == "FROM":
            match each.operands:
                case [base]:
                    stages.append(Stage(name=str(len(stages)), base=base))
                case [base, joint, name] if joint.upper() == "AS":
                    stages.append(Stage(name=name, base=base))
                case _:
                    raise DockerfileError(f"line {each.line}: FROM {each.text!r} is not understood")
        elif not stages:
            raise DockerfileError(f"line {each.line}: {each.name} before the first FROM")
        else:
            stages[-1].instructions.append(each)
    if not stages:
        raise DockerfileError("there is no FROM")
    return stages


def _instructions(text: str) -> list[Instruction]:
    found, parts, start = [], list[str](), 0
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue  # also between continuation lines, as Docker does
        start = start if parts else number
        parts.append(stripped.removesuffix("\\").strip())
        if not stripped.endswith("\\"):
            name, _, rest = " ".join(parts).partition(" ")
            found.append(Instruction(line=start, name=name.upper(), text=rest.strip()))
            parts = []
    if parts:
        raise DockerfileError(f"line {start}: the last line is continued, and there is no more")
    return found


def commands(run: Instruction) -> list[list[str]]:
    """The single commands of a ``RUN``."""
    found: list[list[str]] = [[]]
    for word in run.words:
        if word in SEPARATORS:
            found.append([])
        else:
            found[-1].append(word)
    return [each for each in found if each]


def violations(text: str, *, release: bool) -> list[str]:
    """Every way in which a Dockerfile breaks our rules.

    Args:
        text: Its text.
        release: Whether it makes what users run; the other kind is for developers.

    Returns:
        One sentence each, with the line; empty if it may stay.
    """
    try:
        stages = read(text)
    except DockerfileError as error:
        return [str(error)]
    names = {stage.name for stage in stages}
    said = [
        f"FROM {stage.base}: name a base image by a version tag, without a registry"
        for stage in stages
        if stage.base not in names and not PLAIN_TAG.fullmatch(stage.base)
    ]
    for stage in stages:
        for each in stage.instructions:
            said += [f"line {each.line}: {reason}" for reason in _reasons(each, release=release)]
    last = stages[-1]
    users = [each.text.split(":")[0] for each in last.every("USER")]
    if not users or users[-1] in ROOT_USERS:
        said.append("the last stage runs as root; end it with USER and a number")
    if release and any(
        _installs(command) for run in last.every("RUN") for command in commands(run)
    ):
        said.append("the last stage installs packages; install in a stage before it and copy")
    for each in last.every("ENTRYPOINT"):
        if not each.text.startswith("["):
            said.append(f"line {each.line}: ENTRYPOINT is a JSON list, so that signals arrive")
    return said


def _reasons(each: Instruction, *, release: bool) -> list[str]:
    if "://" in each.text:
        return ["an address; sources come from this repository, packages from the lock"]
    if each.name == "COPY":
        return _copy_reasons(each)
    if each.name in ("ENV", "ARG"):
        named = [word.split("=")[0] for word in each.operands]
        return [
            f"{name} looks like a secret; an image keeps it"
            for name in named
            if SECRET.search(name)
        ]
    if each.name != "RUN":
        return []
    said: list[str] = []
    for command in commands(each):
        said += _run_reasons(command, release=release)
    return said


def _copy_reasons(each: Instruction) -> list[str]:
    if "from" in each.options:
        return []
    *sources, _ = json.loads(each.text) if each.text.startswith("[") else each.operands
    whole = {".", "./", "*", "/", "./*"}
    return [
        f"copies {source!r}; name the files and folders that are needed"
        for source in sources
        if source in whole or source.split("/")[0] in (".git", ".venv")
    ]


def _run_reasons(command: list[str], *, release: bool) -> list[str]:
    said = []
    words = {word.rpartition("/")[2] for word in command}
    if tools := sorted(words & DOWNLOADERS):
        said.append(f"runs {tools}; nothing is downloaded but packages of the lock")
    if tools := sorted(words & GENERATORS) or sorted({"regen", "regen.sh"} & words):
        said.append(f"runs {tools}; generated code is committed, and checked elsewhere")
    if release and (tools := sorted(words & DEVELOPMENT)):
        said.append(f"uses {tools}; a release holds no development tools")
    if release and "scripts/dev" in " ".join(command):
        said.append("runs scripts/dev, which installs the development tools")
    if _installs(command):
        said += _install_reasons(command, release=release)
    return said


def _installs(command: list[str]) -> bool:
    tools = {word.rpartition("/")[2] for word in command}
    return bool(tools & {"pip", "pip3", "uv", "pipx", "apt-get", "apk"}) and bool(
        set(command) & {"install", "sync", "add"}
    )


def _install_reasons(command: list[str], *, release: bool) -> list[str]:
    said = []
    local = {"--no-index", "--no-deps"} <= set(command)
    if any(OURS.match(word) for word in command):
        said.append("installs arco-servo from an index; build it from the sources here")
    elif "--require-hashes" not in command and not local:
        said.append("installs without --require-hashes")
    if release and "requirements.lock" in command:
        said.append("installs the whole lock; scripts/_lock_subset.py prints what a release needs")
    if release and {"-e", "--editable"} & set(command):
        said.append("installs in editable mode; a release holds a wheel")
    return said
