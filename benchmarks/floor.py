"""Compile and execute the modules of a project against a decorator that does nothing.

``python benchmarks/floor.py FOLDER``: less than this no tool needs that loads assets from Python.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any


class _Anything(types.ModuleType):
    def __getattr__(self, name: str) -> Any:
        return _nothing


class AssetIn:
    def __class_getitem__(cls, key: str) -> type[AssetIn]:
        return cls


def asset(function: Any = None, **_: Any) -> Any:
    return function if function is not None else _same


def _same(function: Any) -> Any:
    return function


def _nothing(*_: object, **__: object) -> None:
    return None


def main() -> None:
    servo = _Anything("servo")
    vars(servo).update(AssetIn=AssetIn, asset=asset)
    sys.modules["servo"] = servo
    for path in sorted(Path(sys.argv[1]).glob("*.py")):
        code = compile(path.read_bytes(), str(path), "exec", dont_inherit=True)
        exec(code, {"__name__": f"assets.{path.stem}", "__file__": str(path)})


main()
