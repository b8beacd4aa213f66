# Generated from src/servo/client/_aio/_steps.py by scripts/_unasync.py; edit that instead.
"""The interceptors that every client has, but for retry and tracing."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any, Final, Protocol

from servo import errors
from servo.client import failures
from servo.client._auth import Credentials
from servo.client._call import Call
from servo.client._metadata import AUTHORIZATION, REQUEST_ID
from servo.client._sync._glue import Open, Send, closing, resolve
from servo.types.ids import Ulid

_log: Final = logging.getLogger("servo.client")


class Step(Protocol):
    """One interceptor of the chain."""

    @property
    def name(self) -> str:
        """Its name in the published order."""
        ...

    def bind_unary(self, proceed: Send) -> Send:
        """Return what handles a call with one answer and sends it on with ``proceed``."""
        ...

    def bind_stream(self, proceed: Open) -> Open:
        """Return what handles a call with many answers and sends it on with ``proceed``."""
        ...


class Errors:
    """Tells every error which call it belongs to."""

    name = "errors"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what annotates the error of a call."""

        def unary(call: Call) -> Any:
            try:
                return proceed(call)
            except errors.ServoError as exc:
                _annotate(exc, call)
                raise

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        """Return what annotates the error of a stream, wherever in it."""

        def answers(call: Call) -> Generator[Any, None, None]:
            try:
                with closing(proceed(call)) as items:
                    yield from items
            except errors.ServoError as exc:
                _annotate(exc, call)
                raise

        def stream(call: Call) -> Generator[Any, None, None]:
            return answers(call)

        return stream


class Identity:
    """Says on whose behalf calls are made; what the caller says itself wins.

    Args:
        entries: Names and values of metadata.
    """

    name = "identity"

    def __init__(self, entries: tuple[tuple[str, str], ...]) -> None:
        self._entries = entries

    def bind_unary(self, proceed: Send) -> Send:
        """Return what completes the metadata of a call."""
        entries = self._entries
        add = dict.setdefault  # they were checked already

        def unary(call: Call) -> Any:
            metadata = call.metadata
            for name, value in entries:
                add(metadata, name, value)
            return proceed(call)

        return unary

    bind_stream = bind_unary


class RequestId:
    """Names each call, once for all of its attempts."""

    name = "request-id"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what gives a call its id."""

        def unary(call: Call) -> Any:
            found = call.metadata.get(REQUEST_ID)
            if found is None:
                found = str(Ulid.generate())
                dict.__setitem__(call.metadata, REQUEST_ID, found)
            call.request_id = found
            return proceed(call)

        return unary

    bind_stream = bind_unary


class Auth:
    """Asks for the key of each call.

    Args:
        credentials: Where keys come from; ``None`` for calls without one.
    """

    name = "auth"

    def __init__(self, credentials: Credentials | None) -> None:
        self._credentials = credentials

    def bind_unary(self, proceed: Send) -> Send:
        """Return what authorizes a call."""
        credentials = self._credentials
        if credentials is None:
            return proceed

        def unary(call: Call) -> Any:
            metadata = call.metadata
            if AUTHORIZATION not in metadata:
                found = credentials.ask()
                try:
                    key = resolve(found)
                except errors.ServoError:
                    raise
                except Exception as exc:
                    raise credentials.failed(exc) from exc
                dict.__setitem__(metadata, AUTHORIZATION, credentials.authorization(key))
            return proceed(call)

        return unary

    bind_stream = bind_unary


class Deadline:
    """Ends a call whose time is over before it is sent."""

    name = "deadline"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what looks at the clock."""

        def unary(call: Call) -> Any:
            if call.ends_at is not None and call.ends_at <= call.clock():
                raise failures.deadline_error(call.url, call.method.path, call.timeout)
            return proceed(call)

        return unary

    bind_stream = bind_unary


def _annotate(error: errors.ServoError, call: Call) -> None:
    _log.debug(
        "%s failed: %s (request %s)",
        call.method.path,
        error,
        call.request_id,
        extra={"request_id": call.request_id},
    )
    if not error.request_id:
        error.request_id = call.request_id
        error.attempts = call.attempt
