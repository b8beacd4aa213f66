"""Three implementations of Protobuf that read the contract, behind one interface.

Ours is google.protobuf with the canonical printer of ``servo._wire``. The other two share nothing
with it: not the generated code, not the parser, not the printer. What is put on top of them is the
canonical layout alone, written a second time from the contract: keys by code point, no white space,
entries of maps in the order in which Protobuf's native runtime sorts them.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Protocol

from google.protobuf import json_format

from messages import MESSAGES, message_class
from servo._wire.canonical import print_message

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGE: Final = "betterproto2_contract"


class Reader(Protocol):
    """One implementation of the contract's messages."""

    def json_of(self, type_name: str, binary: bytes) -> bytes:
        """Read a binary message and print it as canonical JSON."""

    def binary_of(self, type_name: str, text: bytes) -> bytes:
        """Read JSON and encode it deterministically."""


class GoogleReader:
    """google.protobuf, as Servo itself uses it."""

    def __init__(self) -> None:
        self._classes = {found.full_name: message_class(found) for found in MESSAGES}

    def json_of(self, type_name: str, binary: bytes) -> bytes:
        """Read a binary message and print it as canonical JSON."""
        return print_message(self._classes[type_name].FromString(binary)).encode()

    def binary_of(self, type_name: str, text: bytes) -> bytes:
        """Read JSON and encode it deterministically."""
        message = json_format.Parse(text, self._classes[type_name]())
        return message.SerializeToString(deterministic=True)


class BetterprotoReader:
    """betterproto2, compiled from the same protos into a folder of its own."""

    def __init__(self, folder: Path) -> None:
        compile_protos(folder)
        self._module = import_package(folder)

    def json_of(self, type_name: str, binary: bytes) -> bytes:
        """Read a binary message and print it as canonical JSON."""
        message = self._class(type_name).parse(binary)
        # It prints null for what is absent, which canonical JSON leaves out.
        plain = _without_nulls(message.to_dict(include_default_values=True))
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return text.encode()

    def binary_of(self, type_name: str, text: bytes) -> bytes:
        """Read JSON and encode it deterministically."""
        return bytes(self._class(type_name).from_dict(_sorted(json.loads(text))))

    def _class(self, type_name: str) -> Any:
        return getattr(self._module, type_name.rpartition(".")[2])


def compile_protos(folder: Path) -> None:
    """Generate betterproto2's code for the contract.

    Raises:
        RuntimeError: The compiler is missing or failed; its words are included.
    """
    bin_dir = Path(sys.executable).parent
    plugin = shutil.which("protoc-gen-python_betterproto2", path=str(bin_dir))
    if plugin is None:
        raise RuntimeError(
            f"betterproto2-compiler is not installed in {bin_dir}; scripts/dev setup"
        )
    proto = ROOT / "proto"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "grpc_tools.protoc", f"-I{proto}"),
            f"--plugin=protoc-gen-python_betterproto2={plugin}",
            f"--python_betterproto2_out={folder}",
            *sorted(str(path) for path in (proto / "arco").rglob("*.proto")),
        ],
        # It formats what it writes with the ruff that it finds.
        env=os.environ | {"PATH": f"{bin_dir}{os.pathsep}{os.environ.get('PATH', '')}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"protoc ended with {done.returncode}:\n{done.stdout}{done.stderr}")


def import_package(folder: Path) -> ModuleType:
    """Import generated code as a package of its own, without touching ``sys.path``."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = package
    spec.loader.exec_module(package)
    return importlib.import_module(f"{PACKAGE}.arco.v1")


def _without_nulls(value: Any) -> Any:
    return _rebuilt(value, lambda items: [(key, item) for key, item in items if item is not None])


def _sorted(value: Any) -> Any:
    # By bytes, and of two keys of which one begins with the other the longer first: 0xff occurs in
    # no UTF-8. https://github.com/protocolbuffers/protobuf/pull/26621
    return _rebuilt(value, lambda items: sorted(items, key=lambda item: item[0].encode() + b"\xff"))


def _rebuilt(value: Any, change: Callable[[list[tuple[str, Any]]], list[tuple[str, Any]]]) -> Any:
    """Copy plain JSON, changing the items of every object in it."""
    if isinstance(value, dict):
        return {key: _rebuilt(item, change) for key, item in change(list(value.items()))}
    if isinstance(value, list):
        return [_rebuilt(item, change) for item in value]
    return value
