"""From layers to `Settings`.

Low to high: defaults < ``[tool.servo]`` in pyproject.toml < servo.toml < the chosen profile <
``.env`` < ``SERVO_*`` in the environment < the command line < arguments. The layers are merged as
they are and only what wins is validated (``docs/adr/0012-configuration-layers.md``).

Loading reads three files and the mappings it is given; ``os.environ`` only where no environment is
given.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import Any

from servo import errors
from servo.config import files, sources
from servo.config.settings import Origin, Settings, key_path, setting_fields, shown, variable
from servo.config.tree import EMPTY, Candidate, Layer, Leaf, Table, merge
from servo.config.values import closest, read


def load(
    root: str | Path | None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    *,
    flags: Mapping[str, object] | None = None,
    profile: str | None = None,
) -> Settings:
    """Combine every layer into one `Settings`.

    Args:
        root: Directory whose files are read, as far as they exist.
        environ: Environment variables, by default those of the process; names that do not start
            with ``SERVO_`` are ignored, and so are empty values.
        overrides: Values given as arguments; ``None`` means not given.
        flags: Values given on the command line; ``None`` means not given.
        profile: The profile to use; by default what SERVO_PROFILE says, in ``environ`` or .env.

    Raises:
        ConfigurationError: A file cannot be parsed, a key or the profile is unknown, layers
            contradict each other, or a value has the wrong type; the message names the place.
    """
    root = None if root is None else Path(root)
    environ = os.environ if environ is None else environ
    dotenv = files.read_dotenv(root)
    variable_name = sources.PROFILE_VARIABLE
    chosen = profile or environ.get(variable_name) or dotenv.get(variable_name, "")
    merged = reduce(
        merge,
        (
            *_from_files(root, chosen),
            sources.from_variables(dotenv, file=files.DOTENV, base=root),
            sources.from_variables(environ),
            sources.from_names(flags or {}, Layer.COMMAND_LINE),
            sources.from_names(overrides or {}, Layer.ARGUMENTS),
        ),
        EMPTY,
    )
    return _validated(merged, chosen)


def _from_files(root: Path | None, profile: str) -> tuple[Table, ...]:
    """Return the layers of both files, then those of the profile, so that it wins over both."""
    layers: list[Table] = []
    profiles: dict[str, list[Table]] = {}
    for values, layer, name, prefix, place in (
        (files.read_table(root), Layer.PYPROJECT, files.PYPROJECT, "tool.servo.", files.TABLE),
        (files.read_servo_toml(root), Layer.SERVO_TOML, files.SERVO_TOML, "", ""),
    ):
        if root is None or values is None:
            continue
        own = {key: value for key, value in values.items() if key != sources.PROFILES}
        where = f"{place} of {name}" if place else name
        layers.append(sources.from_file(own, layer, source=name, place=where, base=root))
        # All profiles are read, so that a slip is found before the day on which one is needed.
        for key, table in _profiles_of(values, name).items():
            where = f"[{prefix}{sources.PROFILES}.{key}] of {name}"
            source = f"profile {key!r} of {name}"
            profiles.setdefault(key, []).append(
                sources.from_file(table, Layer.PROFILE, source=source, place=where, base=root)
            )
    if profile and profile not in profiles:
        known = f"there are {', '.join(map(repr, sorted(profiles)))}" if profiles else ""
        meant = closest(profile, profiles)
        hint = f"did you mean {meant!r}?" if meant else known
        raise errors.ConfigurationError(
            f"there is no profile {profile!r}; "
            + (hint or f"make it with [{sources.PROFILES}.{profile}] in {files.SERVO_TOML}"),
            context={"profile": profile},
        )
    return (*layers, *profiles.get(profile, ()))


def _profiles_of(values: Mapping[str, Any], file: str) -> Mapping[str, Mapping[str, Any]]:
    profiles = values.get(sources.PROFILES, {})
    if not isinstance(profiles, Mapping) or not all(
        isinstance(one, Mapping) for one in profiles.values()
    ):
        raise errors.ConfigurationError(
            f"{sources.PROFILES!r} in {file} must hold tables; write [{sources.PROFILES}.NAME] and "
            f"the profile's settings below it",
            context={"key": sources.PROFILES},
        )
    return profiles


def _validated(tree: Table, profile: str) -> Settings:
    values: dict[str, Any] = {}
    winners: dict[str, Candidate] = {}
    origins: dict[str, tuple[Origin, ...]] = {}
    for one in setting_fields():
        leaf = _leaf(tree, key_path(one.name))
        if not leaf:
            continue
        if one.metadata["secret"]:
            _refuse_committed(one.name, leaf)
        winners[one.name] = leaf[-1]
        values[one.name] = read(one, leaf[-1])
        origins[one.name] = (
            Origin(source=leaf[-1].source, value=shown(one, values[one.name])),
            *(
                Origin(source=lower.source, value=shown(one, lower.value))
                for lower in reversed(leaf[:-1])
            ),
        )
    _choose_key(values, winners, origins)
    return Settings(**values, profile=profile, origins=MappingProxyType(origins))


def _leaf(tree: Table, path: tuple[str, ...]) -> Leaf:
    node: Table | Leaf = tree
    for depth, key in enumerate(path):
        if node == ():
            return ()
        if isinstance(node, tuple):
            raise errors.ConfigurationError(
                f"{node[-1].place} is a value; {path[0]!r} is a table, so set "
                f"{'.'.join(path)!r} or another key of it",
                context={"key": ".".join(path[:depth])},
            )
        node = node.children.get(key, ())
    if isinstance(node, Table):
        raise errors.ConfigurationError(
            f"{node.places[-1]} makes {'.'.join(path)!r} a table; it is a single value",
            context={"key": ".".join(path)},
        )
    return node


def _refuse_committed(name: str, leaf: Leaf) -> None:
    for candidate in leaf:
        if candidate.is_committed:
            raise errors.ConfigurationError(
                f"{candidate.place} is a secret and that file is committed; set {variable(name)} "
                f"instead, or name a file: {name}_file"
            )


def _choose_key(
    values: dict[str, Any],
    winners: Mapping[str, Candidate],
    origins: dict[str, tuple[Origin, ...]],
) -> None:
    """Let the key and the file that holds one count as one setting: the higher layer wins."""
    if not (values.get("api_key") and values.get("api_key_file")):
        return
    low, high = sorted(("api_key", "api_key_file"), key=lambda name: winners[name].layer)
    if winners[low].layer is winners[high].layer:
        raise errors.ConfigurationError(
            f"{winners[low].place} and {winners[high].place} both give a key; remove one",
            context={"key": "api_key"},
        )
    values[low] = ""
    origins[low] = (Origin(source=winners[high].source, value=""), *origins[low])
