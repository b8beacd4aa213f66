"""What each layer says, as a tree: files, variables, options and arguments.

Keys are looked at here, values are not: a value that another layer beats may be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from servo import errors
from servo.config.settings import (
    ENVIRONMENT_PREFIX,
    TABLES,
    key_path,
    setting_fields,
    variable,
)
from servo.config.tree import EMPTY, Candidate, Layer, Table, empty_table, merge, single
from servo.config.values import closest

PROFILES: Final = "profiles"
"""The table whose tables are profiles."""
PROFILE_VARIABLE: Final = variable("profile")
"""The variable that chooses a profile."""

_NAMES: Final = {one.name: key_path(one.name) for one in setting_fields()}
_KEYS: Final = {".".join(path): path for path in _NAMES.values()}
_VARIABLES: Final = {variable(name): path for name, path in _NAMES.items()}


def from_file(
    values: Mapping[str, Any], layer: Layer, *, source: str, place: str, base: Path
) -> Table:
    """Read a table of a TOML file.

    Args:
        values: The table.
        layer: What it is.
        source: The same in the words of `servo.config.Origin`.
        place: The table, for messages, such as ``[tool.servo] of pyproject.toml``.
        base: Directory of the file.

    Raises:
        ConfigurationError: A key is unknown, or written in two ways.
    """

    def candidate(value: object, written: str) -> Candidate:
        return Candidate(
            value=value, layer=layer, source=source, place=f"{written!r} in {place}", base=base
        )

    found: list[Table] = []
    for key, value in values.items():
        if key not in _NAMES and key not in TABLES:
            raise _unknown(f"{key!r} in {place}", key, (*_KEYS, *_NAMES, *TABLES))
        path = _NAMES.get(key, (key,))
        if not isinstance(value, Mapping):
            found.append(single(path, candidate(value, key)))
            continue
        # Also where a single value belongs: another layer may hold it, and both are to be named.
        found.append(empty_table(path, f"{key!r} in {place}"))
        for name, item in value.items():
            written = f"{key}.{name}"
            if key in TABLES and written not in _KEYS:
                raise _unknown(f"{written!r} in {place}", written, _KEYS)
            found.append(single((*path, name), candidate(item, written)))
    return _layer(found)


def from_variables(
    environ: Mapping[str, str], *, file: str = "", base: Path | None = None
) -> Table:
    """Read variables; ``SERVO_TLS__CA`` is the key ``ca`` of the table ``tls``, as SERVO_TLS_CA is.

    Args:
        environ: Name to value. An empty value counts as not given: compose files and CI systems
            set variables to nothing all the time. A name that is none of ours is ignored, because
            other programs use the prefix too (and Kubernetes, for a service of that name), unless
            it looks like a slip.
        file: The file that holds them, for messages; empty for the environment.
        base: Directory of that file.

    Raises:
        ConfigurationError: A name looks like a slip, or two name the same setting.
    """
    found: list[Table] = []
    for name, text in environ.items():
        if not name.startswith(ENVIRONMENT_PREFIX) or name == PROFILE_VARIABLE:
            continue
        place = f"{name} in {file}" if file else f"environment variable {name}"
        path = _path_of_variable(name)
        if path is None:
            if meant := closest(name, (*_VARIABLES, PROFILE_VARIABLE), cutoff=0.9):
                raise errors.ConfigurationError(
                    f"unknown {place}; did you mean {meant!r}?", context={"key": name}
                )
            continue
        if not text.strip():
            continue
        candidate = Candidate(
            value=text,
            layer=Layer.DOTENV if file else Layer.ENVIRONMENT,
            source=f"{name} in {file}" if file else name,
            place=place,
            base=base,
        )
        found.append(single(path, candidate))
    return _layer(found)


def from_names(values: Mapping[str, object], layer: Layer) -> Table:
    """Read values by the names of their fields; ``None`` means not given.

    Args:
        values: Field name to value.
        layer: The command line or arguments.

    Raises:
        ConfigurationError: There is no such field.
    """
    is_argument = layer is Layer.ARGUMENTS
    found: list[Table] = []
    for name, value in values.items():
        if name not in _NAMES:
            raise _unknown(f"setting {name!r}", name, _NAMES)
        if value is not None:
            candidate = Candidate(
                value=value,
                layer=layer,
                source="argument" if is_argument else "command line",
                place=f"argument {name!r}" if is_argument else f"{name!r} on the command line",
            )
            found.append(single(_NAMES[name], candidate))
    return _layer(found)


def _path_of_variable(name: str) -> tuple[str, ...] | None:
    if name in _VARIABLES:
        return _VARIABLES[name]
    head, *rest = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    if rest and (head in TABLES or head in _NAMES):
        key = ".".join((head, *rest))
        if head in TABLES and key not in _KEYS:
            raise _unknown(f"environment variable {name!r}", key, _KEYS)
        return (head, *rest)
    # A table's own name cannot hold a value; saying so is up to whoever knows all layers.
    return (head,) if head in TABLES and not rest else None


def _layer(trees: Iterable[Table]) -> Table:
    """Merge what one layer says, in which nothing wins over anything."""
    layer = EMPTY
    for tree in trees:
        layer = merge(layer, tree)
    for path, leaf in layer.leaves():
        if len(leaf) > 1:
            raise errors.ConfigurationError(
                f"{leaf[0].place} and {leaf[1].place} are two ways to write {'.'.join(path)!r}; "
                f"remove one",
                context={"key": ".".join(path)},
            )
    return layer


def _unknown(what: str, key: str, known: Iterable[str]) -> errors.ConfigurationError:
    names = sorted(set(known))
    meant = closest(key, names)
    hint = f"did you mean {meant!r}?" if meant else f"known are: {', '.join(names)}"
    return errors.ConfigurationError(f"unknown {what}; {hint}", context={"key": key})
