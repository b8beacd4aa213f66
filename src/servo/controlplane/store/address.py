"""Where a database is: the path of a SQLite file, or the URL of a PostgreSQL database."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from servo import errors

SCHEMES: Final = ("postgresql", "postgres")
_MASK: Final = "********"
# Up to the last "@": a password that should have been escaped is hidden all the same.
_credentials: Final = re.compile(r"(//[^/?#@:]*):.+@")
_password: Final = re.compile(r"(?i)([?&](?:password|sslpassword)=)[^&#]*")


def parse(text: str) -> Path | str:
    """Return the path of a file, or the URL of a server.

    Raises:
        servo.errors.ConfigurationError: It is the URL of something else, or of nothing.
    """
    scheme, separator, rest = text.partition("://")
    if not separator or "/" in scheme:
        return Path(text)
    if scheme not in SCHEMES or not rest:
        raise errors.ConfigurationError(
            f"{masked(text)!r} is no database that Servo can use; give the path of a SQLite file "
            "or a URL such as postgresql://user@host:5432/servo",
            code="DATABASE_INVALID",
        )
    return text


def masked(database: Path | str) -> str:
    """Return a database as it may be shown: without passwords."""
    if isinstance(database, Path):
        return str(database)
    text = _credentials.sub(rf"\1:{_MASK}@", database)
    return _password.sub(rf"\g<1>{_MASK}", text)


def without_password(url: str) -> str:
    """Return a URL for somebody who has the password elsewhere."""
    place, _, query = _credentials.sub(r"\1@", url).partition("?")
    pairs = [pair for pair in query.split("&") if pair]
    kept = [pair for pair in pairs if "password" not in pair.partition("=")[0].lower()]
    return f"{place}?{'&'.join(kept)}" if kept else place


def without_secrets(text: str, url: str) -> str:
    """Return what a driver says about a URL, without the passwords in it."""
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, _MASK)
    return masked(text)


def _secrets(url: str) -> set[str]:
    """Return the passwords of a URL, as they stand there and as they are meant."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()
    found = [parts.password or ""]
    for pair in parts.query.split("&"):
        name, _, value = pair.partition("=")
        if "password" in name.lower():
            found.append(value)
    return {form for one in found for form in (one, unquote(one)) if form}
