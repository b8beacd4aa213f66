"""Names that a package offers and loads on first use (PEP 562)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType

__all__ = ["attach"]


class _LazyPackage(ModuleType):
    """A package in which an offered name wins over the submodule of the same name.

    Importing ``servo.asset`` binds the submodule to that name in ``servo``, where users expect
    the decorator, whatever was imported first.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if isinstance(value, ModuleType) and name in self.__all__:
            value = getattr(value, name, value)
        super().__setattr__(name, value)


def attach(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Make the ``__getattr__`` and ``__dir__`` of a package.

    Args:
        package: Dotted name of the package; its ``__all__`` is set already.
        homes: Names that a module defines, separated by spaces, by that module's dotted name.

    Returns:
        The two functions, to be assigned at module level.
    """
    home_of = {name: module for module, listed in homes.items() for name in listed.split()}
    module = sys.modules[package]
    module.__class__ = _LazyPackage

    def load(name: str) -> object:
        home = home_of.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object = getattr(import_module(home), name)
        setattr(module, name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(module), *home_of})

    return load, names
