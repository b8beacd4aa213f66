"""The comments of the protos, by the full names of what they describe.

Generated Python code has none of them, so they are generated beside it (``comments.json``): the
reference pages and the JSON Schema say what the contract says.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)

Path = tuple[int, ...]

# Field numbers of descriptor.proto, of which the paths of source locations consist.
FILE_MESSAGE, FILE_ENUM, FILE_SERVICE, FILE_SYNTAX = 4, 5, 6, 12
MESSAGE_FIELD, MESSAGE_NESTED, MESSAGE_ENUM, MESSAGE_ONEOF = 2, 3, 4, 8
ENUM_VALUE = SERVICE_METHOD = 2


def comments_of(image: FileDescriptorSet, *, package: str) -> dict[str, str]:
    """Return every comment of a package; that of a file stands under the path of the file.

    Args:
        image: Files with their source information, as ``buf build`` writes them.
        package: Files of other packages are left out.
    """
    found = {}
    for file in image.file:
        if file.package != package:
            continue
        texts = {
            tuple(location.path): location.leading_comments
            for location in file.source_code_info.location
            if location.leading_comments
        }
        for name, path in _paths(file):
            if path in texts:
                found[name] = plain(texts[path])
    return found


def plain(comment: str) -> str:
    """Return a comment as paragraphs: what was wrapped at the margin becomes one line again."""
    paragraphs = "\n".join(line.strip() for line in comment.splitlines()).split("\n\n")
    return "\n\n".join(" ".join(part.split()) for part in paragraphs if part.strip())


def _paths(file: FileDescriptorProto) -> Iterator[tuple[str, Path]]:
    yield file.name, (FILE_SYNTAX,)
    yield from _messages(file.message_type, file.package, (FILE_MESSAGE,))
    yield from _enums(file.enum_type, file.package, (FILE_ENUM,))
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield name, (FILE_SERVICE, index)
        for number, method in enumerate(service.method):
            yield f"{name}.{method.name}", (FILE_SERVICE, index, SERVICE_METHOD, number)


def _messages(
    messages: Iterable[DescriptorProto], scope: str, base: Path
) -> Iterator[tuple[str, Path]]:
    for index, message in enumerate(messages):
        name, path = f"{scope}.{message.name}", (*base, index)
        yield name, path
        for number, field in enumerate(message.field):
            yield f"{name}.{field.name}", (*path, MESSAGE_FIELD, number)
        for number, oneof in enumerate(message.oneof_decl):
            yield f"{name}.{oneof.name}", (*path, MESSAGE_ONEOF, number)
        yield from _messages(message.nested_type, name, (*path, MESSAGE_NESTED))
        yield from _enums(message.enum_type, name, (*path, MESSAGE_ENUM))


def _enums(
    enums: Iterable[EnumDescriptorProto], scope: str, base: Path
) -> Iterator[tuple[str, Path]]:
    for index, enum in enumerate(enums):
        name, path = f"{scope}.{enum.name}", (*base, index)
        yield name, path
        for number, value in enumerate(enum.value):
            # Values are siblings of their enum in proto; under its name they are easier to find.
            yield f"{name}.{value.name}", (*path, ENUM_VALUE, number)
