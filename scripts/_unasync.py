"""Make the synchronous client from the asyncio one, and tell when the two no longer agree.

``src/servo/client/_aio`` is the source; each of its modules becomes one of
``src/servo/client/_sync``, but for ``__init__`` and ``_glue``, which are written by hand. What is
I/O-free lives once, beside them.

Words are replaced, tokens are dropped, and ruff lays out what is left. A name that is not in the
table stays as it is, and mypy then says so.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CLIENT = Path("src/servo/client")
SOURCE = CLIENT / "_aio"
TWIN = CLIENT / "_sync"
BY_HAND = frozenset({"__init__.py", "_glue.py"})
REMEDY = "edit src/servo/client/_aio, run scripts/_unasync.py and commit both"
HEADER = "# Generated from {source} by scripts/_unasync.py; edit that instead.\n"

NAMES = {
    "AsyncAssets": "Assets",
    "AsyncClient": "Client",
    "AsyncDeployments": "Deployments",
    "AsyncEvents": "Events",
    "AsyncHTTPTransport": "HTTPTransport",
    "AsyncInterceptor": "Interceptor",
    "AsyncInterceptorFunction": "InterceptorFunction",
    "AsyncIterator": "Iterator",
    "AsyncKeyProvider": "KeyProvider",
    "AsyncKeys": "Keys",
    "AsyncLogs": "Logs",
    "AsyncPools": "Pools",
    "AsyncRuns": "Runs",
    "AsyncServer": "Server",
    "AsyncStream": "Stream",
    "AsyncWorkers": "Workers",
    "StopAsyncIteration": "StopIteration",
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "_aio": "_sync",
    "aclose": "close",
    "aclosing": "closing",
    "aiter_bytes": "iter_bytes",
    "anext": "next",
}
PHRASES = (
    # An asynchronous generator returns nothing, a synchronous one may.
    ("AsyncGenerator[{}, None]", "Generator[{}, None, None]"),
    ("Awaitable[{}]", "{}"),
    ("AsyncGenerator", "Generator"),
    ("grpc.aio", "grpc"),
)
PROSE = (
    (r"an ``async with``", "a ``with``"),
    (r"; to be used in the event loop of its first call\.", "; may be used by several threads."),
    (r"\basync (with|for|def)\b", r"\1"),
    (r"\bawait ", ""),
)
LEFT = re.compile(r"\b_?(async\w*|await\w*)\b", re.IGNORECASE)
# Sorted imports, none that is not used, and `yield from`, which an async generator does not have.
FIXES = (
    *("--select", "I,F401,UP028", "--unsafe-fixes"),
    # Wherever the tree lies, and whatever of it is there.
    *("--config", 'lint.isort.known-first-party = ["servo"]'),
)
ASYNC_FOLLOWERS = frozenset({"def", "for", "with"})


class UnasyncError(Exception):
    """A module cannot be turned into its twin."""


def to_sync(text: str, *, name: str) -> str:
    """Return the synchronous twin of a module, not yet laid out.

    Raises:
        UnasyncError: It has an ``async`` that nothing is known of.
    """
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    out: list[str] = []
    for before, token, after in _neighbours(tokens):
        gap = _gap(before, token)
        word = token.string
        if token.type == tokenize.NAME and word == "await":
            out.append(gap)
            out.append("\0")  # the space that follows goes with it
            continue
        if token.type == tokenize.NAME and word == "async":
            if after is None or after.string not in ASYNC_FOLLOWERS:
                raise UnasyncError(f"{name}:{token.start[0]}: nothing is known of this async")
            out.append(gap)
            out.append("\0")
            continue
        if token.type == tokenize.NAME:
            word = NAMES.get(word, word)
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            word = _prose(word)
        out.append(gap if not out or out[-1] != "\0" else gap.lstrip(" "))
        out.append(word)
    found = "".join(out).replace("\0", "")
    for old, new in PHRASES:
        found = _rephrase(found, old, new)
    return found


def generate(root: Path) -> dict[Path, str]:
    """Return the text of every module of the twin by its path below `root`.

    Raises:
        UnasyncError: A word of asyncio would be left.
    """
    found: dict[Path, str] = {}
    for path in sorted((root / SOURCE).glob("*.py")):
        if path.name in BY_HAND:
            continue
        source = path.relative_to(root)
        text = HEADER.format(source=source.as_posix()) + to_sync(
            path.read_text(encoding="utf-8"), name=source.as_posix()
        )
        target = TWIN / path.name
        found[target] = text = _laid_out(root, target, text)
        if left := LEFT.search(text, len(HEADER)):
            line = text.count("\n", 0, left.start()) + 1
            raise UnasyncError(f"{target.as_posix()}:{line}: {left[0]!r} is left")
    return found


def drift(root: Path) -> list[str]:
    """Say, file by file, how the twin differs from what would be generated."""
    wanted = generate(root)
    there = {path.relative_to(root) for path in (root / TWIN).glob("*.py")}
    said = [
        f"{path.as_posix()}: does not belong to the source"
        for path in sorted(there - set(wanted))
        if path.name not in BY_HAND
    ]
    for path, text in wanted.items():
        if path not in there:
            said.append(f"{path.as_posix()}: missing")
        elif (root / path).read_text(encoding="utf-8") != text:
            said.append(f"{path.as_posix()}: not what the source says")
    return said


def install(root: Path) -> list[Path]:
    """Write the twin, touching only what differs; return the paths touched."""
    wanted = generate(root)
    touched = []
    for path, text in wanted.items():
        target = root / path
        if not target.is_file() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            touched.append(path)
    for old in (root / TWIN).glob("*.py"):
        if old.name not in BY_HAND and old.relative_to(root) not in wanted:
            old.unlink()
            touched.append(old.relative_to(root))
    return touched


def main(arguments: list[str] | None = None) -> int:
    """Run ``scripts/_unasync.py``: 0 done or clean, 1 drift, 2 could not run."""
    parser = argparse.ArgumentParser(prog="scripts/_unasync.py", description=__doc__)
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 on any drift")
    options = parser.parse_args(arguments)
    try:
        if options.check:
            said = drift(options.root)
            for line in said:
                print(f"unasync: {line}", file=sys.stderr)
            if said:
                print(f"unasync: {REMEDY}", file=sys.stderr)
            return 1 if said else 0
        for path in install(options.root):
            print(path.as_posix())
    except UnasyncError as error:
        print(f"unasync: {error}", file=sys.stderr)
        return 2
    return 0


def _neighbours(
    tokens: list[tokenize.TokenInfo],
) -> Iterator[tuple[tokenize.TokenInfo | None, tokenize.TokenInfo, tokenize.TokenInfo | None]]:
    kept = [one for one in tokens if one.type not in (tokenize.INDENT, tokenize.DEDENT)]
    for index, token in enumerate(kept):
        before = kept[index - 1] if index else None
        yield before, token, kept[index + 1] if index + 1 < len(kept) else None


def _gap(before: tokenize.TokenInfo | None, token: tokenize.TokenInfo) -> str:
    """Return the white space between two tokens, a continued line included."""
    if token.type in (tokenize.NEWLINE, tokenize.NL, tokenize.ENDMARKER) and not token.string:
        return ""
    line, column = before.end if before is not None else (1, 0)
    if before is not None and before.type in (tokenize.NEWLINE, tokenize.NL):
        line, column = line + 1, 0
    if token.start[0] != line:
        return "\n" * (token.start[0] - line) + " " * token.start[1]
    return " " * (token.start[1] - column)


def _prose(text: str) -> str:
    for old, new in PROSE:
        text = re.sub(old, new, text)
    return re.sub(r"\w+", lambda match: NAMES.get(match[0], match[0]), text)


def _rephrase(text: str, old: str, new: str) -> str:
    """Replace a phrase, in which ``{}`` stands for an expression with balanced brackets."""
    if "{}" not in old:
        return text.replace(old, new)
    head, tail = old.split("{}")
    start = text.find(head)
    while start >= 0:
        begin = end = start + len(head)
        depth = 1
        while depth:
            depth += {"[": 1, "]": -1}.get(text[end], 0)
            end += 1
        inner = text[begin : end - 1].removesuffix(tail[:-1])
        put = new.format(inner)
        text = text[:start] + put + text[end:]
        start = text.find(head, start)
    return text


def _laid_out(root: Path, path: Path, text: str) -> str:
    ruff = str(Path(sys.executable).parent / "ruff")
    for command in (
        ["check", "--quiet", "--fix-only", *FIXES, "--stdin-filename"],
        ["format", "--quiet", "--stdin-filename"],
    ):
        done = subprocess.run(
            [ruff, *command, path.as_posix(), "-"],
            cwd=root, input=text, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise UnasyncError(f"ruff cannot lay out {path.as_posix()}:\n{done.stderr.strip()}")
        text = done.stdout
    return text


if __name__ == "__main__":
    sys.exit(main())
