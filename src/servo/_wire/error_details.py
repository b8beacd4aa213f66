"""Errors on the wire (``error.proto``): what a caller needs to know, and nothing internal."""

from __future__ import annotations

import re
from typing import Final

from servo._causes import cause_chain, link_causes
from servo._gen.arco.v1 import error_pb2 as pb
from servo._wire.enums import ERROR_CATEGORY
from servo.errors import FOREIGN_CODE, ErrorCategory, ServoError, error_type

MAX_MESSAGE: Final = 2_000
"""Characters of a message that are sent; a status travels in headers, which are small."""
MAX_FACT: Final = 200
"""Characters of a cause's message or of a value of the context that are sent."""
MAX_FACTS: Final = 16
"""Entries of the context that are sent."""

_absolute_path = re.compile(r"(?<![\w/.:~])(?:~|[A-Za-z]:)?[/\\](?:[^\s'\"/\\:]+[/\\])+")


def error_detail_to_proto(error: ServoError, message: pb.ErrorDetail) -> None:
    """Fill in an error with the chain of its causes.

    A cause that is no `ServoError` is named by its class only: its text may hold paths, user
    data or secrets. Long texts are cut, and the directories of the server's own files left out.
    """
    message.code = error.code
    message.category = ERROR_CATEGORY.number[error.category]
    message.message = shorten(_public(error, str(error)), MAX_MESSAGE)
    for name, value in list(error.context.items())[:MAX_FACTS]:
        message.context[clean(name)] = shorten(_public(error, value), MAX_FACT)
    for cause in cause_chain(error):
        entry = message.causes.add()
        if isinstance(cause, ServoError):
            entry.code = cause.code
            entry.message = shorten(_public(cause, str(cause)), MAX_FACT)
        else:
            entry.code = FOREIGN_CODE
            entry.message = type(cause).__name__


def error_detail_from_proto(message: pb.ErrorDetail, *, grpc_code: str = "") -> ServoError:
    """Read an error with the chain of its causes.

    Args:
        message: The message.
        grpc_code: Name of the status that carried it, for codes that this version does not know.
    """
    category = ERROR_CATEGORY.member[message.category]
    found = error_type(category, code=message.code, grpc_code=grpc_code)
    error = found(message.message, code=message.code, context=dict(message.context))
    link_causes(error, [ServoError(cause.message, code=cause.code) for cause in message.causes])
    return error


def shorten(text: str, limit: int) -> str:
    """Cut a text to ``limit`` characters, saying how much is missing."""
    text = clean(text)
    if len(text) <= limit:
        return text
    return f"{text[:limit]}... ({len(text) - limit} more characters)"


def clean(text: str) -> str:
    """Replace what is not Unicode text: an error must reach the caller whatever it quotes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _public(error: ServoError, text: str) -> str:
    # A caller's own paths (a lockfile, a module) stay; those of the server's disk do not.
    if error.category is ErrorCategory.FILESYSTEM:
        return _absolute_path.sub("", text)
    return text
