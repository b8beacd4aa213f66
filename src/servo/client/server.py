"""The control plane itself."""

from __future__ import annotations

import time
from typing import Final

from servo import _wire, errors
from servo.client.calls import Invoker
from servo.types.requests import GetServerInfoRequest, GetServerInfoResponse

_PAUSE: Final = 0.05


class Server:
    """What a control plane says of itself."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def info(self, *, timeout: float | None = None) -> GetServerInfoResponse:
        """Ask who is there.

        Args:
            timeout: How long the answer may take, seconds.

        Raises:
            servo.errors.UnavailableError: Nobody is.
        """
        method = _wire.methods.GET_SERVER_INFO
        return self._invoker.unary(method, GetServerInfoRequest(), timeout=timeout)

    def wait_ready(self, timeout: float) -> GetServerInfoResponse:
        """Wait until the control plane serves.

        Args:
            timeout: How long to wait, seconds.

        Raises:
            servo.errors.UnavailableError: It did not come up in that time.
            servo.errors.UnauthenticatedError: It is another one, or the key is wrong.
        """
        end = time.monotonic() + timeout
        while True:
            left = end - time.monotonic()
            try:
                info = self.info(timeout=max(left, _PAUSE))
                if info.ready:
                    return info
            except (errors.UnavailableError, errors.DeadlineError):
                if left <= 0:
                    raise
            if left <= 0:
                raise errors.UnavailableError(
                    f"the control plane at {self._invoker.url} is going down; try again"
                )
            time.sleep(_PAUSE)
