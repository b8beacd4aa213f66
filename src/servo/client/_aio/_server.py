"""The control plane itself."""

from __future__ import annotations

import time
from typing import Final

from servo import errors
from servo._wire import methods
from servo.client._aio._calls import Calls
from servo.client._aio._glue import sleep
from servo.client._options import UNSET, Timeout
from servo.types.requests import GetServerInfoRequest, GetServerInfoResponse

_PAUSE: Final = 0.03


class AsyncServer:
    """What the control plane says of itself. Use it as ``client.server``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def info(self, *, timeout: Timeout = UNSET) -> GetServerInfoResponse:
        """Ask who is there.

        Args:
            timeout: Seconds that the answer may take; the shorter of this and the client's counts,
                and ``None`` is no limit of its own.

        Raises:
            UnavailableError: The control plane cannot be reached.
            UnauthenticatedError: The API key is missing or wrong.
        """
        return await self._info(timeout)

    async def wait_ready(self, timeout: float) -> GetServerInfoResponse:
        """Wait until the control plane serves.

        Args:
            timeout: Seconds to wait.

        Raises:
            UnavailableError: It does not serve by then.
            UnauthenticatedError: The API key is missing or wrong.
        """
        give_up_at = time.monotonic() + timeout
        while True:
            left = max(give_up_at - time.monotonic(), _PAUSE)
            try:
                found = await self._info(left, sends_once=True)
                problem: errors.ServoError | None = None
                if found.ready:
                    return found
            except (errors.UnavailableError, errors.DeadlineError) as exc:
                problem = exc
            if time.monotonic() + _PAUSE > give_up_at:
                raise errors.UnavailableError(
                    f"the control plane is not ready after {timeout:g} s"
                    + (f": {problem}" if problem else "; it is still starting, wait longer")
                ) from problem
            await sleep(_PAUSE)

    async def _info(self, timeout: Timeout, *, sends_once: bool = False) -> GetServerInfoResponse:
        return await self._calls.unary(
            methods.GET_SERVER_INFO,
            GetServerInfoRequest(),
            timeout=timeout,
            sends_once=sends_once,
        )
