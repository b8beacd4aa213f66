"""Render the reference of the contract, a page for each proto file, from its comments.

``scripts/_contract_docs.py`` writes ``docs/contract/reference/``; ``--check`` writes nothing and
exits with 1 when a page there is not what the protos say now. The protos are the only place where
the contract is described; whoever wants a better page writes a better comment.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    MethodOptions,
    ServiceDescriptorProto,
)

import _regen
from _comments import comments_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = Path("docs/contract/reference")
REMEDY = "run .venv/bin/python scripts/_contract_docs.py and commit docs/contract/reference/"
IDEMPOTENCY = {
    MethodOptions.IDEMPOTENCY_UNKNOWN: "no",
    MethodOptions.IDEMPOTENT: "yes",
    MethodOptions.NO_SIDE_EFFECTS: "reads only",
}


class Reference:
    """The pages of one state of the protos.

    Args:
        root: The tree whose protos are described.
    """

    def __init__(self, root: Path) -> None:
        image = _regen.image(root)
        self.files = [file for file in image.file if file.package == _regen.PACKAGE]
        self._comments = comments_of(image, package=_regen.PACKAGE)
        self._page_of = {
            f".{_regen.PACKAGE}.{name}": page_name(file)
            for file in self.files
            for name in (*map(_name_of, file.message_type), *map(_name_of, file.enum_type))
        }

    def pages(self) -> dict[str, str]:
        """Every page by its name below ``docs/contract/reference``."""
        found = {page_name(file): "\n".join(self._page(file)) + "\n" for file in self.files}
        return found | {"index.md": "\n".join(self._index()) + "\n"}

    def _index(self) -> Iterator[str]:
        yield "# Reference"
        yield ""
        yield f"Every file of `{_regen.PACKAGE}`, rendered from its comments."
        yield ""
        yield "| file | what it is about | services | messages | enums |"
        yield "|---|---|---|---|---|"
        for file in self.files:
            counts = " | ".join(
                str(len(found)) for found in (file.service, file.message_type, file.enum_type)
            )
            about = self._cell(file.name)
            yield f"| [{Path(file.name).name}]({page_name(file)}) | {about} | {counts} |"

    def _page(self, file: FileDescriptorProto) -> Iterator[str]:
        yield f"# {Path(file.name).name}"
        yield ""
        yield self._comments[file.name]
        yield ""
        yield (
            f"Rendered from the comments of [`proto/{file.name}`](../../../proto/{file.name}) by "
            f"`scripts/_contract_docs.py`: to change this page, change them."
        )
        for service in file.service:
            yield from self._service(file, service)
        for message in file.message_type:
            yield from self._message(file, message)
        for enum in file.enum_type:
            yield from self._enum(enum)

    def _head(self, name: str) -> Iterator[str]:
        yield ""
        yield f"## {name}"
        yield ""
        yield self._comments[f"{_regen.PACKAGE}.{name}"]

    def _service(self, file: FileDescriptorProto, service: ServiceDescriptorProto) -> Iterator[str]:
        yield from self._head(service.name)
        yield ""
        yield "| RPC | takes | returns | idempotent | what it does |"
        yield "|---|---|---|---|---|"
        for method in service.method:
            takes = self._link(file, method.input_type, stream=method.client_streaming)
            returns = self._link(file, method.output_type, stream=method.server_streaming)
            again = IDEMPOTENCY[method.options.idempotency_level]
            about = self._cell(f"{_regen.PACKAGE}.{service.name}.{method.name}")
            yield f"| `{method.name}` | {takes} | {returns} | {again} | {about} |"

    def _message(self, file: FileDescriptorProto, message: DescriptorProto) -> Iterator[str]:
        name = f"{_regen.PACKAGE}.{message.name}"
        yield from self._head(message.name)
        if not message.field:
            yield ""
            yield "It has no fields."
            return
        yield ""
        yield "| no. | field | in JSON | type | what it is |"
        yield "|---|---|---|---|---|"
        for field in message.field:
            type_ = self._type(file, message, field)
            about = self._cell(f"{name}.{field.name}")
            yield f"| {field.number} | `{field.name}` | `{field.json_name}` | {type_} | {about} |"
        for index, oneof in enumerate(message.oneof_decl):
            members = [
                f"`{field.name}`"
                for field in message.field
                if field.HasField("oneof_index")
                and field.oneof_index == index
                and not field.proto3_optional
            ]
            if members:
                yield ""
                comment = self._comments[f"{name}.{oneof.name}"]
                yield f"One of {', '.join(members)} (`{oneof.name}`): {comment}"

    def _enum(self, enum: EnumDescriptorProto) -> Iterator[str]:
        yield from self._head(enum.name)
        yield ""
        yield "| no. | value | what it means |"
        yield "|---|---|---|"
        for value in enum.value:
            about = self._cell(f"{_regen.PACKAGE}.{enum.name}.{value.name}")
            yield f"| {value.number} | `{value.name}` | {about} |"

    def _type(
        self, file: FileDescriptorProto, message: DescriptorProto, field: FieldDescriptorProto
    ) -> str:
        entry = next(
            (one for one in message.nested_type if field.type_name.endswith(f".{one.name}")), None
        )
        if entry is not None and entry.options.map_entry:
            key, value = entry.field
            return f"map of {self._single(file, key)} to {self._single(file, value)}"
        single = self._single(file, field)
        if field.label == FieldDescriptorProto.LABEL_REPEATED:
            return f"list of {single}"
        return f"{single}, optional" if field.proto3_optional else single

    def _single(self, file: FileDescriptorProto, field: FieldDescriptorProto) -> str:
        if field.type_name:
            return self._link(file, field.type_name)
        return FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()

    def _link(self, file: FileDescriptorProto, type_name: str, *, stream: bool = False) -> str:
        name = type_name.rpartition(".")[2]
        page = self._page_of.get(type_name)
        if page is None:
            text = type_name.removeprefix(".")
        else:
            text = f"[{name}]({'' if page == page_name(file) else page}#{name.lower()})"
        return f"stream of {text}" if stream else text

    def _cell(self, name: str) -> str:
        return " ".join(self._comments[name].split()).replace("|", "\\|")


def _name_of(found: DescriptorProto | EnumDescriptorProto) -> str:
    return found.name


def page_name(file: FileDescriptorProto) -> str:
    return f"{Path(file.name).stem}.md"


def differences(wanted: dict[str, str], folder: Path) -> Iterator[str]:
    """Say how the pages in a folder differ from those that are wanted."""
    there = {path.name for path in folder.glob("*.md")}
    for name in sorted(wanted.keys() | there):
        if name not in there:
            yield f"{name}: missing"
        elif name not in wanted:
            yield f"{name}: no proto file has this page"
        elif (folder / name).read_text(encoding="utf-8") != wanted[name]:
            yield f"{name}: not what the protos say"


def write(wanted: dict[str, str], folder: Path) -> None:
    """Make the folder hold the pages that are wanted, and no others."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).write_text(text, encoding="utf-8")


def report(lines: Iterable[str]) -> int:
    said = [f"contract-docs: {(PAGES / line).as_posix()}" for line in lines]
    if said:
        print("\n".join([*said, f"contract-docs: {REMEDY}"]), file=sys.stderr)
    return 1 if said else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the script: 0 done or current, 1 a page is not current, 2 could not run."""
    parser = argparse.ArgumentParser(prog="scripts/_contract_docs.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    folder: Path = options.root / PAGES
    try:
        pages = Reference(options.root).pages()
    except _regen.RegenError as error:
        print(f"contract-docs: {error}", file=sys.stderr)
        return 2
    if options.check:
        return report(differences(pages, folder))
    write(pages, folder)
    print(f"{len(pages)} pages in {PAGES.as_posix()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
