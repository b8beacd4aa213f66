"""Fenced blocks of Markdown documents, and what it means to run one.

``python`` is executed, ``python title="FILE"`` is written to that file, ``diff title="FILE"`` is
applied to it, ``console`` is typed into a shell and its output compared. ``no-run`` after the
language says that a block is only read; ``exit=N`` is the code that its last command ends with.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<body>.*?)^(?P=indent)```\s*$", re.M | re.S
)
_OPTION = re.compile(r'(\w+)=(?:"([^"]*)"|(\S+))')
_TIMEOUT = 100


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block; ``line`` is where it begins."""

    language: str
    options: dict[str, str]
    run: bool
    body: str
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block and the output it should have; none: any."""

    text: str
    expected: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a document."""
    for match in _FENCE.finditer(text):
        language, _, rest = match["info"].strip().partition(" ")
        options = {name: quoted or plain for name, quoted, plain in _OPTION.findall(rest)}
        indent = len(match["indent"])
        body = "".join(line[indent:] for line in match["body"].splitlines(keepends=True))
        line = text.count("\n", 0, match.start()) + 2
        yield Block(language, options, "no-run" not in rest.split(), body, line)


def commands(body: str) -> Iterator[Command]:
    """Yield the commands of a console block."""
    for part in re.split(r"^\$ ", body, flags=re.M)[1:]:
        text, _, expected = part.partition("\n")
        yield Command(text, expected)


def type_command(
    command: Command, directory: Path, environ: dict[str, str]
) -> tuple[int, str, Path]:
    """Run a command; return its code, its output and the directory it leaves the shell in."""
    after = Path(environ["HOME"]) / ".cwd"
    done = subprocess.run(
        ["bash", "-c", f'{command.text}\ncode=$?\npwd >"{after}"\nexit $code'],
        cwd=directory,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return done.returncode, done.stdout, Path(after.read_text().strip())


def matches(expected: str, output: str) -> bool:
    """Compare an output, where ``...`` stands for anything and white space does not count."""
    pattern = ""
    for line in _squeezed(expected):
        if line == "...":
            pattern += r"(?:.*\n)*?"
        else:
            parts = re.split(r" ?\.\.\. ?", line)
            pattern += r".*?".join(re.escape(part) for part in parts) + r"\n"
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _squeezed(output))) is not None


def _squeezed(text: str) -> Iterator[str]:
    for line in text.splitlines():
        words = " ".join(line.split())
        if words:
            yield words


def apply_diff(diff: str, text: str) -> str:
    """Replace the lines of a diff that begin with a space or ``-`` by those with a space or ``+``.

    Raises:
        ValueError: The old lines are not in the text, or more than once.
    """
    lines = diff.splitlines(keepends=True)
    old = "".join(line[1:] for line in lines if line[:1] in " -")
    new = "".join(line[1:] for line in lines if line[:1] in " +")
    if text.count(old) != 1:
        raise ValueError(f"the old lines occur {text.count(old)} times:\n{old}")
    return text.replace(old, new)
