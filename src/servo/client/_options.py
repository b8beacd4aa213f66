"""What a client is told once, in one value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from servo import errors
from servo.client._retries import Retries

if TYPE_CHECKING:
    from servo.config.settings import Settings

DEFAULT_TIMEOUT: Final = 30.0


class Unset:
    """The type of a parameter that was not given, where ``None`` means something."""

    def __repr__(self) -> str:
        return "<default>"


UNSET: Final = Unset()

Timeout = float | None | Unset


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long calls may take, and how often they are tried.

    Attributes:
        timeout: Seconds that a call may take; ``None`` for no limit. Calls that are known to take
            long have a longer one, unless it was given.
        is_given: Whether somebody asked for that timeout.
        retries: Which failed attempts are repeated.
    """

    timeout: float | None = DEFAULT_TIMEOUT
    is_given: bool = False
    retries: Retries = field(default_factory=Retries)

    @classmethod
    def of(cls, timeout: Timeout, retries: Retries | int | None) -> Limits:
        """Read what a caller gave.

        Raises:
            ConfigurationError: It makes no sense.
        """
        policy = retries_of(retries)
        if isinstance(timeout, Unset):
            return cls(retries=policy)
        return cls(timeout=checked_timeout(timeout), is_given=True, retries=policy)

    @property
    def patience(self) -> float:
        """Seconds for which a stream is opened again."""
        return math.inf if self.timeout is None else self.timeout

    def seconds(self, given: Timeout, at_least: float) -> float | None:
        """Return the seconds that one call may take.

        Args:
            given: What the caller says of this call: the shorter of the two limits counts.
            at_least: What such a call is given where nobody asked for a limit.
        """
        timeout = self.timeout
        if timeout is not None and not self.is_given:
            timeout = max(timeout, at_least)
        if given is UNSET or given is None:
            return timeout
        assert isinstance(given, float | int)
        return given if timeout is None else min(given, timeout)


def retries_of(given: object) -> Retries:
    """Return a policy for what a caller gave: a policy, or how often to repeat a call.

    Raises:
        ConfigurationError: It makes no sense.
    """
    if given is None:
        return Retries()
    if isinstance(given, Retries):
        return given
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise errors.ConfigurationError(
            f"retries {given!r} makes no sense; 0 never repeats a call, 2 repeats it twice"
        )
    return Retries(attempts=given + 1)


def checked_timeout(timeout: object) -> float | None:
    """Return a timeout that makes sense.

    Raises:
        ConfigurationError: It is negative, or no number.
    """
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout >= 0:
        raise errors.ConfigurationError(
            f"timeout {timeout!r} makes no sense; it is seconds, 0 or more, or None for no limit"
        )
    return None if math.isinf(timeout) else float(timeout)


def options_of(settings: Settings) -> Mapping[str, Any]:
    """Return the arguments of a client that settings stand for.

    Raises:
        ConfigurationError: They name no control plane.
    """
    from servo.client._auth import TokenFile
    from servo.client._tls import Tls

    if not settings.api_url:
        raise errors.ConfigurationError(
            "no control plane is configured; set SERVO_API_URL, or api_url in [tool.servo]"
        )
    found: dict[str, Any] = {
        "url": settings.api_url,
        "tenant_id": settings.tenant_id,
        "workspace_id": settings.workspace_id,
        "retries": settings.retries,
        "tls": Tls(ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key),
    }
    if settings.api_key:
        found["api_key"] = settings.api_key
    elif settings.api_key_file:
        found["api_key"] = TokenFile(settings.api_key_file)
    if "timeout" in settings.sources:
        found["timeout"] = settings.timeout
    return found
