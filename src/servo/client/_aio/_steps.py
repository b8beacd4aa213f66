"""The interceptors that every client has, but for retry and tracing."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any, Final, Protocol

from servo import errors
from servo.client import failures
from servo.client._aio._glue import Open, Send, aclosing, resolve
from servo.client._auth import Credentials
from servo.client._call import Call
from servo.client._metadata import AUTHORIZATION, REQUEST_ID
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

        async def unary(call: Call) -> Any:
            try:
                return await proceed(call)
            except errors.ServoError as exc:
                _annotate(exc, call)
                raise

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        """Return what annotates the error of a stream, wherever in it."""

        async def answers(call: Call) -> AsyncGenerator[Any, None]:
            try:
                async with aclosing(await proceed(call)) as items:
                    async for item in items:
                        yield item
            except errors.ServoError as exc:
                _annotate(exc, call)
                raise

        async def stream(call: Call) -> AsyncGenerator[Any, None]:
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

        async def unary(call: Call) -> Any:
            metadata = call.metadata
            for name, value in entries:
                add(metadata, name, value)
            return await proceed(call)

        return unary

    bind_stream = bind_unary


class RequestId:
    """Names each call, once for all of its attempts."""

    name = "request-id"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what gives a call its id."""

        async def unary(call: Call) -> Any:
            found = call.metadata.get(REQUEST_ID)
            if found is None:
                found = str(Ulid.generate())
                dict.__setitem__(call.metadata, REQUEST_ID, found)
            call.request_id = found
            return await proceed(call)

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

        async def unary(call: Call) -> Any:
            metadata = call.metadata
            if AUTHORIZATION not in metadata:
                found = credentials.ask()
                try:
                    key = await resolve(found)
                except errors.ServoError:
                    raise
                except Exception as exc:
                    raise credentials.failed(exc) from exc
                dict.__setitem__(metadata, AUTHORIZATION, credentials.authorization(key))
            return await proceed(call)

        return unary

    bind_stream = bind_unary


class Deadline:
    """Ends a call whose time is over before it is sent."""

    name = "deadline"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what looks at the clock."""

        async def unary(call: Call) -> Any:
            if call.ends_at is not None and call.ends_at <= call.clock():
                raise failures.deadline_error(call.url, call.method.path, call.timeout)
            return await proceed(call)

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
