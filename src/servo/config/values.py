"""From what a layer says to the value of a field, or to an error that says what was expected."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import Field
from pathlib import Path
from typing import Any, Final

from servo import errors
from servo.config.settings import MASK
from servo.config.tree import Candidate

_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off"})
_UNLIMITED: Final = "none"
_EMBEDDED: Final = "embedded"
_WORDS: Final[Mapping[type, str]] = {
    str: "a string",
    int: "a whole number",
    float: f"a number of seconds, or {_UNLIMITED!r}",
    bool: "true or false",
    tuple: 'a list, such as ["assets"]',
}


def read(one: Field[Any], candidate: Candidate) -> object:
    """Return the value of a field.

    Args:
        one: The field of `servo.config.Settings`.
        candidate: What the layer that won says.

    Raises:
        ConfigurationError: It is no such value; the message names the place, and what is expected.
    """
    value = candidate.value
    if candidate.is_text and isinstance(value, str):
        value = _from_text(one, value, candidate)
    value = _typed(one, value, candidate)
    if isinstance(value, str):
        return _checked_text(one, value, candidate)
    minimum = one.metadata["minimum"]
    if minimum is not None and isinstance(value, int | float) and value < minimum:
        raise _wrong(one, value, candidate, f"it must be at least {minimum}")
    return value


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the known word that was probably meant."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def _kind(one: Field[Any]) -> type:
    default: object = one.default
    return type(default)


def _from_text(one: Field[Any], text: str, candidate: Candidate) -> object:
    kind: type = _kind(one)
    if kind is bool:
        word = text.strip().lower()
        if word not in _TRUE | _FALSE:
            raise _wrong(one, text, candidate, "expected 1 or 0")
        return word in _TRUE
    if kind is tuple:
        return tuple(part for part in text.split(os.pathsep) if part)
    if kind in (int, float):
        if kind is float and text.strip().lower() == _UNLIMITED:
            return _UNLIMITED
        try:
            return kind(text)
        except ValueError as error:
            raise _expected(one, text, candidate) from error
    return text


def _typed(one: Field[Any], value: object, candidate: Candidate) -> object:
    kind: type = _kind(one)
    if kind is tuple:
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise _expected(one, value, candidate)
        items = tuple(value)
        if not all(isinstance(item, str) and item for item in items):
            raise _wrong(one, value, candidate, "expected a list of non-empty strings")
        return items
    if kind is float:
        if value is None or value == _UNLIMITED:
            return None
        if type(value) is int:
            value = float(value)
        if isinstance(value, float) and not math.isfinite(value):
            raise _expected(one, value, candidate)
    if type(value) is not kind:
        raise _expected(one, value, candidate)
    return value


def _checked_text(one: Field[Any], value: str, candidate: Candidate) -> str:
    choices = one.metadata["choices"]
    if choices and value:
        word = value.lower()
        if word not in choices:
            meant = closest(word, choices)
            hint = f"did you mean {meant!r}?" if meant else f"one of {', '.join(choices)}"
            raise _wrong(one, value, candidate, hint)
        value = word
    if not value and one.default:
        raise errors.ConfigurationError(
            f"{candidate.place} is empty; give a name or remove it", context={"key": one.name}
        )
    if one.name == "api_url" and value.lower() == _EMBEDDED:
        return ""
    if one.name == "api_url" and _has_credentials(value):
        raise errors.ConfigurationError(
            f"{candidate.place} holds a user name or a password; the address is shown in many "
            f"places, so put the key into SERVO_API_KEY",
            context={"key": one.name},
        )
    if one.metadata["path"] and value:
        try:
            path = Path(value).expanduser()
        except RuntimeError as error:  # no HOME and no entry for the user, or no such user
            raise _wrong(
                one,
                value,
                candidate,
                "the home directory of that user is not known; write the whole path, or set HOME",
            ) from error
        return str(candidate.base / path if candidate.base else path)
    return value


def _has_credentials(url: str) -> bool:
    if "@" not in url:
        return False
    from urllib.parse import urlsplit

    try:
        return "@" in urlsplit(url).netloc
    except ValueError:
        return True


def _expected(one: Field[Any], value: object, candidate: Candidate) -> errors.ConfigurationError:
    return _wrong(one, value, candidate, f"expected {_WORDS[_kind(one)]}")


def _wrong(
    one: Field[Any], value: object, candidate: Candidate, advice: str
) -> errors.ConfigurationError:
    text = MASK if one.metadata["secret"] else repr(value)
    return errors.ConfigurationError(
        f"{candidate.place} is {text}; {advice}", context={"key": one.name}
    )
