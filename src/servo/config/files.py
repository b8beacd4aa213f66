"""The files of a project that configure it: pyproject.toml, servo.toml and .env."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from servo import errors
from servo.config.settings import ENVIRONMENT_PREFIX

PYPROJECT: Final = "pyproject.toml"
SERVO_TOML: Final = "servo.toml"
DOTENV: Final = ".env"
TABLE: Final = "[tool.servo]"


def read_table(root: Path | None) -> Mapping[str, Any] | None:
    """Return ``[tool.servo]`` of the project in ``root``, or None when it has none.

    Raises:
        ConfigurationError: ``pyproject.toml`` cannot be read or parsed.
    """
    document = None if root is None else _read_toml(root / PYPROJECT)
    if document is None:
        return None
    assert root is not None
    tool = document.get("tool", {})
    table = tool.get("servo") if isinstance(tool, dict) else None
    if table is not None and not isinstance(table, dict):
        raise errors.ConfigurationError(
            f"tool.servo in {str(root / PYPROJECT)!r} is no table; write a table: {TABLE}"
        )
    return table


def read_servo_toml(root: Path | None) -> Mapping[str, Any] | None:
    """Return ``servo.toml`` of the project in ``root``, or None when it has none.

    Raises:
        ConfigurationError: It cannot be read or parsed.
    """
    return None if root is None else _read_toml(root / SERVO_TOML)


def is_configured(directory: Path) -> bool:
    """Tell whether a directory has settings of its own, which makes it a project.

    Raises:
        ConfigurationError: Its ``pyproject.toml`` cannot be read or parsed.
    """
    return (directory / SERVO_TOML).is_file() or read_table(directory) is not None


def read_dotenv(root: Path | None) -> Mapping[str, str]:
    """Return the variables of ``.env`` in ``root`` that begin with ``SERVO_``.

    The process's environment is neither read nor changed: ``${NAME}`` stays as it is, so a key may
    hold a dollar sign. Other programs' lines are none of our business, broken ones included.

    Raises:
        ConfigurationError: The file cannot be read, or one of our lines cannot be parsed.
    """
    if root is None:
        return {}
    path = root / DOTENV
    text = _read_text(path)
    if text is None or ENVIRONMENT_PREFIX not in text:
        return {}
    import io

    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    for binding in parse_stream(io.StringIO(text)):
        ours = (binding.key or binding.original.string.strip()).startswith(ENVIRONMENT_PREFIX)
        if ours and (binding.error or binding.key is None or binding.value is None):
            # The line itself may hold a secret.
            raise errors.ConfigurationError(
                f"line {binding.original.line} of {str(path)!r} cannot be parsed; write it as "
                f"NAME=VALUE, and quote a value that has spaces or quotes"
            )
        if ours and binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return found


def _read_toml(path: Path) -> dict[str, Any] | None:
    text = _read_text(path)
    if text is None:
        return None
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise errors.ConfigurationError(
            f"{str(path)!r} is no valid TOML: {error}; fix the file"
        ) from error
    except RecursionError as error:
        raise errors.ConfigurationError(
            f"{str(path)!r} is nested too deeply to be read; fix the file"
        ) from error


def _read_text(path: Path) -> str | None:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except UnicodeDecodeError as error:
        raise errors.ConfigurationError(
            f"{str(path)!r} is no UTF-8 text: {error.reason} at byte {error.start}; save it as "
            f"UTF-8"
        ) from error
    except OSError as error:
        raise errors.ConfigurationError(
            f"{str(path)!r} cannot be read: {error.strerror}; fix its permissions"
        ) from error
