"""Where the API key of a call comes from."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

from servo import errors
from servo.client._metadata import bearer
from servo.client.transport import Address


class TokenFile:
    """An API key in a file, read again whenever the file has changed.

    White space around the key does not count: editors end a file with a line break.

    Args:
        path: The file, such as a mounted secret that is rotated.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._state: tuple[tuple[int, int, int], str] | None = None

    def __call__(self) -> str:
        """Return the key that is in the file now.

        Raises:
            ConfigurationError: The file cannot be read, or is empty.
        """
        try:
            facts = self._path.stat()
            stamp = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
            known = self._state
            if known is not None and known[0] == stamp:
                return known[1]
            key = self._path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
            raise errors.ConfigurationError(
                f"the API key file {str(self._path)!r} cannot be read: {reason}; check "
                f"SERVO_API_KEY_FILE",
                code="API_KEY_FILE",
            ) from exc
        if not key:
            raise errors.ConfigurationError(
                f"the API key file {str(self._path)!r} is empty; write the key into it",
                code="API_KEY_FILE",
            )
        self._state = (stamp, key)
        return key

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"


KeyProvider = Callable[[], str]
AsyncKeyProvider = Callable[[], str | Awaitable[str]]


class Credentials:
    """Turns what a provider returns into the value of ``authorization``.

    Nothing here shows the key: not its representation, and no error.

    Args:
        provider: The key itself, or what returns it for each call.
        address: Where it will be sent.

    Raises:
        ConfigurationError: A key would be sent in plain text, or cannot be sent at all.
    """

    __slots__ = ("_last", "_provider")

    def __init__(self, provider: str | AsyncKeyProvider, address: Address) -> None:
        address.refuse_plain_text()
        self._last: tuple[str, str] = ("", "")
        self._provider: AsyncKeyProvider
        if isinstance(provider, str):
            self.authorization(provider)
            self._provider = _Fixed(provider)
        elif callable(provider):
            self._provider = provider
        else:
            raise errors.ConfigurationError(
                f"an API key is a text or a function that returns one, not a "
                f"{type(provider).__name__}"
            )

    def ask(self) -> str | Awaitable[str]:
        """Return what the provider says, as it says it.

        Raises:
            ConfigurationError: It failed; the error is its own if it is one of Servo's.
        """
        try:
            return self._provider()
        except errors.ServoError:
            raise
        except Exception as exc:
            raise self.failed(exc) from exc

    def failed(self, exc: Exception) -> errors.ConfigurationError:
        """Return what to raise for a provider that raised something."""
        name = getattr(self._provider, "__qualname__", type(self._provider).__name__)
        return errors.ConfigurationError(
            f"the API key provider {name} raised {type(exc).__name__}; it must return the key",
            code="API_KEY_PROVIDER",
        )

    def authorization(self, key: object) -> str:
        """Return the value of ``authorization`` for a key that the provider returned.

        Raises:
            ConfigurationError: It is no text, or cannot be sent.
        """
        last_key, value = self._last
        if key is last_key:
            return value
        if not isinstance(key, str):
            raise errors.ConfigurationError(
                f"the API key provider returned a {type(key).__name__}, not a text; an async "
                f"function needs an AsyncClient"
            )
        value = bearer(key)
        self._last = (key, value)
        return value

    def __repr__(self) -> str:
        return "Credentials(...)"


class _Fixed:
    __slots__ = ("_key",)

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self) -> str:
        return self._key
