"""From layers to `Settings`: ``[tool.servo]`` in pyproject.toml < ``SERVO_*`` < arguments.

Loading is pure: it reads one file and the mapping it is given, never ``os.environ``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from servo import errors
from servo.config.settings import Settings, setting_fields

ENVIRONMENT_PREFIX: Final = "SERVO_"
_TABLE: Final = "[tool.servo]"
_TRUE: Final = frozenset({"1", "true", "yes", "on"})
_FALSE: Final = frozenset({"0", "false", "no", "off", ""})


def load(
    root: Path | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, object] | None = None,
) -> Settings:
    """Combine every layer into one `Settings`.

    Args:
        root: Directory whose ``pyproject.toml`` is read, if there is one.
        environ: Environment variables; names that do not start with ``SERVO_`` are ignored.
        overrides: Values given as arguments; ``None`` means not given.

    Raises:
        ConfigurationError: A file cannot be parsed, a key is unknown, or a value has the wrong
            type; the message names the place.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in (
        _from_pyproject(root),
        _from_environment(environ),
        _from_arguments(overrides or {}),
    ):
        for name, (value, source) in layer.items():
            values[name] = value
            sources[name] = source
    return Settings(**values, sources=MappingProxyType(sources))


Layer = dict[str, tuple[Any, str]]


def read_table(root: Path | None) -> Mapping[str, Any] | None:
    """Return ``[tool.servo]`` of the project in ``root``, or None when it has none.

    Raises:
        ConfigurationError: ``pyproject.toml`` cannot be read or parsed.
    """
    if root is None:
        return None
    path = root / "pyproject.toml"
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise errors.ConfigurationError(
            f"{str(path)!r} cannot be read: {error.strerror}; fix its permissions"
        ) from error
    import tomllib

    try:
        document = tomllib.loads(data.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise errors.ConfigurationError(
            f"{str(path)!r} is no valid TOML: {error}; fix the file"
        ) from error
    tool = document.get("tool", {})
    table = tool.get("servo") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise errors.ConfigurationError(
            f"tool.servo in {str(path)!r} is {table!r}; write a table: {_TABLE}"
        )
    return table


def _from_pyproject(root: Path | None) -> Layer:
    layer: Layer = {}
    fields = {one.name: one for one in setting_fields()}
    for key, value in (read_table(root) or {}).items():
        where = f"{key!r} in {_TABLE} of pyproject.toml"
        if key not in fields:
            raise errors.ConfigurationError(_unknown(where, key, fields), context={"key": key})
        if fields[key].metadata["secret"]:
            raise errors.ConfigurationError(
                f"{where} is a secret and pyproject.toml is committed; "
                f"set {ENVIRONMENT_PREFIX}{key.upper()} instead"
            )
        layer[key] = (_checked(key, value, where), "pyproject.toml")
    return layer


def _from_environment(environ: Mapping[str, str]) -> Layer:
    known = {ENVIRONMENT_PREFIX + one.name.upper(): one for one in setting_fields()}
    layer: Layer = {}
    for variable, text in environ.items():
        if not variable.startswith(ENVIRONMENT_PREFIX):
            continue
        if (one := known.get(variable)) is not None:
            parse = _PARSERS[type(one.default)]
            value = _checked(one.name, parse(text, variable), f"environment variable {variable}")
            layer[one.name] = (value, variable)
        # Other programs may use the prefix too, so only what looks like a slip is refused.
        elif meant := _closest(variable, known, cutoff=0.9):
            raise errors.ConfigurationError(
                f"unknown environment variable {variable!r}; did you mean {meant!r}?",
                context={"key": variable},
            )
    return layer


def _from_arguments(overrides: Mapping[str, object]) -> Layer:
    fields = {one.name for one in setting_fields()}
    layer: Layer = {}
    for name, value in overrides.items():
        if name not in fields:
            raise errors.ConfigurationError(_unknown(f"setting {name!r}", name, fields))
        if value is not None:
            layer[name] = (_checked(name, value, f"argument {name!r}"), "argument")
    return layer


def _unknown(where: str, key: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if meant := _closest(key, names, cutoff=0.6):
        return f"unknown {where}; did you mean {meant!r}?"
    return f"unknown {where}; known are: {', '.join(names)}"


def _closest(word: str, known: Iterable[str], *, cutoff: float) -> str | None:
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)), None)


def _checked(name: str, value: object, where: str) -> object:
    """Return ``value`` in the type of the field, or say what was expected."""
    one = next(one for one in setting_fields() if one.name == name)
    if isinstance(one.default, tuple):
        if isinstance(value, str) or not isinstance(value, Iterable):
            raise errors.ConfigurationError(
                f'{where} is {value!r}; expected a list, such as ["assets"]'
            )
        items = tuple(value)
        if not all(isinstance(item, str) and item for item in items):
            raise errors.ConfigurationError(
                f"{where} is {value!r}; expected a list of non-empty strings"
            )
        return items
    expected = type(one.default)
    if type(value) is not expected:
        raise errors.ConfigurationError(
            f"{where} is {value!r}; expected {_WORDS[expected]}", context={"key": name}
        )
    minimum = one.metadata["minimum"]
    if minimum is not None and isinstance(value, int) and value < minimum:
        raise errors.ConfigurationError(f"{where} is {value!r}; it must be at least {minimum}")
    if isinstance(value, str) and not value and one.default:
        raise errors.ConfigurationError(f"{where} is empty; give a name or remove it")
    return value


def _parse_integer(text: str, variable: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise errors.ConfigurationError(
            f"environment variable {variable} is {text!r}; expected a whole number"
        ) from error


def _parse_flag(text: str, variable: str) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise errors.ConfigurationError(f"environment variable {variable} is {text!r}; expected 1 or 0")


_WORDS: Final = {str: "a string", int: "a whole number", bool: "true or false"}
_PARSERS: Final[Mapping[type, Callable[[str, str], object]]] = {
    str: lambda text, _: text,
    int: _parse_integer,
    bool: _parse_flag,
    tuple: lambda text, _: tuple(part for part in text.split(os.pathsep) if part),
}
