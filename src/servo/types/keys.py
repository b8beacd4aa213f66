"""Asset keys: ``namespace.name``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from servo.types._frozen import NAME_PATTERN, _is_name

__all__ = ["DEFAULT_NAMESPACE", "AssetKey"]

DEFAULT_NAMESPACE = "default"
"""Namespace of a key that is written without one."""

_KEY_PATTERN = r"^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$"


# Field order gives the order of the dotted text, because "." sorts before every character that
# a name may contain.
@dataclass(frozen=True, slots=True, order=True)
class AssetKey:
    """Names an asset within a workspace; prints as ``namespace.name``.

    Attributes:
        namespace: Group of assets; matches ``pattern`` in full.
        name: Name within the group; matches ``pattern`` in full.

    Raises:
        TypeError: A part is no string.
        ValueError: A part does not match.
    """

    namespace: str
    name: str

    pattern: ClassVar[str] = NAME_PATTERN

    def __post_init__(self) -> None:
        for what, part in (("namespace", self.namespace), ("name", self.name)):
            if not isinstance(part, str):
                raise TypeError(f"the {what} of an asset key must be a string, got {part!r}")
            if _is_name(part) is None:
                raise ValueError(
                    f"Invalid asset key {what} {part!r}: it must match {NAME_PATTERN} "
                    f"(lower-case letters, digits and underscores, starting with a letter)"
                )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a key from text.

        Args:
            text: ``"namespace.name"``, or ``"name"`` for the namespace ``default``.

        Raises:
            TypeError: ``text`` is no string.
            ValueError: ``text`` is no key; the message shows it and the pattern.
        """
        if not isinstance(text, str):
            raise TypeError(f"an asset key is read from a string, got {text!r}")
        namespace, dot, name = text.partition(".")
        if not dot:
            namespace, name = DEFAULT_NAMESPACE, namespace
        if _is_name(namespace) is None or _is_name(name) is None:
            raise ValueError(
                f"Invalid asset key {text!r}: expected 'namespace.name' or 'name', "
                f"each part matching {NAME_PATTERN} (in full: {_KEY_PATTERN})"
            )
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}.{self.name}"
