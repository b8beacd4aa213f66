"""Render the tables of the reference that follow from the code: errors and configuration.

``scripts/_reference_docs.py`` writes them into ``docs/reference/errors.md`` and
``configuration.md``, between marks such as ``<!-- settings -->`` and ``<!-- /settings -->``;
``--check`` writes nothing and exits with 1 when a table is not what the code says now. The rows
come from ``servo.errors`` and from the fields of ``servo.config.Settings``; the prose around the
tables is written by hand.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from servo import errors
from servo.config import Settings
from servo.config.settings import TABLES
from servo.errors import CATEGORY_RULES, GRPC_CODES, ServoError

ROOT = Path(__file__).resolve().parent.parent
PAGES = Path("docs/reference")
REMEDY = "run .venv/bin/python scripts/_reference_docs.py and commit docs/reference/"


def rendered(page: str, text: str) -> str:
    """Return a page with its tables as the code says.

    Raises:
        ValueError: The page has no place for one of its tables.
    """
    for name, rows in TABLES_OF[page].items():
        marks = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
        table = "".join(f"{line}\n" for line in _table(rows()))
        text, places = marks.subn(table.replace("\\", r"\\"), text)
        if places != 1:
            raise ValueError(f"{page} has {places} places for the table {name!r}; it needs one")
    return text


def _table(rows: Iterable[tuple[str, ...]]) -> list[str]:
    heading, *rest = (f"| {' | '.join(row)} |" for row in rows)
    columns = heading.count(" | ") + 1
    return [heading, f"|{'---|' * columns}", *rest]


def _class_rows() -> Iterator[tuple[str, ...]]:
    yield ("class", "code", "means", "category", "gRPC", "HTTP", "exit", "retry helps")
    for depth, cls in _tree(ServoError):
        rule = cls.rule
        summary = (inspect.getdoc(cls) or "").partition("\n")[0].rstrip(".")
        yield (
            f"{'· ' * depth}`{cls.__name__}`",
            f"`{cls.default_code}`",
            summary.replace("``", "`"),
            cls.category.name,
            rule.grpc_code,
            str(rule.http_status),
            str(rule.exit_code),
            "yes" if rule.retried else "no",
        )


def _tree(cls: type[ServoError], depth: int = 0) -> Iterator[tuple[int, type[ServoError]]]:
    yield depth, cls
    for below in cls.__subclasses__():
        if below.__module__ == errors.__name__:
            yield from _tree(below, depth + 1)


def _grpc_rows() -> Iterator[tuple[str, ...]]:
    yield ("status", "number", "in Connect", "its HTTP status", "raised as")
    for name, code in GRPC_CODES.items():
        if code.connect_name:
            raised = errors.error_class_for_grpc(name).__name__
            yield (
                name,
                str(code.number),
                f"`{code.connect_name}`",
                str(code.connect_status),
                f"`{raised}`",
            )


def _http_rows() -> Iterator[tuple[str, ...]]:
    yield ("HTTP status", "raised as")
    for cls, group in itertools.groupby(range(100, 600), errors.error_class_for_http):
        found = list(group)
        span = str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"
        yield (span, f"`{cls.__name__}`")


def _exit_rows() -> Iterator[tuple[str, ...]]:
    yield ("exit code", "category")
    by_code: dict[int, list[str]] = {}
    for category, rule in CATEGORY_RULES.items():
        by_code.setdefault(rule.exit_code, []).append(category.name)
    for code, names in sorted(by_code.items()):
        yield (str(code), ", ".join(names))


def _settings_rows() -> Iterator[tuple[str, ...]]:
    yield ("setting", "variable", "default", "meaning")
    for item in Settings().describe():
        table = item.key.partition(".")[0]
        key = f"`{item.key}`, `{item.name}`" if table in TABLES else f"`{item.key}`"
        default = f"`{item.value}`" if item.value else "empty"
        yield (key, f"`{item.variable}`", default, item.doc)


TABLES_OF: Final[Mapping[str, Mapping[str, Callable[[], Iterable[tuple[str, ...]]]]]] = {
    "configuration.md": {"settings": _settings_rows},
    "errors.md": {
        "classes": _class_rows,
        "grpc": _grpc_rows,
        "http": _http_rows,
        "exits": _exit_rows,
    },
}


def main(arguments: list[str] | None = None) -> int:
    """Run the script: 0 done or current, 1 a page is not current."""
    parser = argparse.ArgumentParser(prog="scripts/_reference_docs.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    parser.add_argument("--folder", type=Path, default=ROOT / PAGES, help="where the pages are")
    options = parser.parse_args(arguments)
    code = 0
    for name in TABLES_OF:
        path: Path = options.folder / name
        text = path.read_text(encoding="utf-8")
        wanted = rendered(name, text)
        if text == wanted:
            continue
        if options.check:
            print(f"{name} is not what the code says; {REMEDY}", file=sys.stderr)
            code = 1
        else:
            path.write_text(wanted, encoding="utf-8")
    return code


if __name__ == "__main__":
    sys.exit(main())
