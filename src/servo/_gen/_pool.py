"""The descriptor pool of the generated modules, apart from protobuf's own.

``scripts/_regen.py`` copies this file to ``servo/_gen/_pool.py`` and rewrites the generated modules
to use it. A program may then load its own code for ``arco.v1``, in any version and made by any
generator, beside Servo: protobuf refuses two different files of one name in one pool only.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf import duration_pb2, message, reflection, timestamp_pb2
from google.protobuf.descriptor import Descriptor, FileDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal import enum_type_wrapper

WELL_KNOWN: Final = (duration_pb2, timestamp_pb2)
"""What the contract imports; a pool has to hold each file that another one in it needs."""

POOL: Final = DescriptorPool()

for _module in WELL_KNOWN:
    POOL.AddSerializedFile(_module.DESCRIPTOR.serialized_pb)


def add_file(serialized: bytes) -> FileDescriptor:
    """Add a file of the contract; those that it imports are there already."""
    return POOL.AddSerializedFile(serialized)


def build(file: FileDescriptor, module_name: str, names: dict[str, Any]) -> None:
    """Define the enums, services and messages of a file in its module.

    This is ``google.protobuf.internal.builder.BuildTopDescriptorsAndMessages`` without entering
    the classes into the symbol database, which belongs to protobuf's own pool.

    Args:
        file: The file.
        module_name: The module that the message classes say they are from; pickle looks them up.
        names: The module's globals.
    """
    for name, enum in file.enum_types_by_name.items():
        names[f"_{name.upper()}"] = enum
        names[name] = enum_type_wrapper.EnumTypeWrapper(enum)
        names |= {value.name: value.number for value in enum.values}
    for name, service in file.services_by_name.items():
        names[f"_{name.upper()}"] = service
    for name, descriptor in file.message_types_by_name.items():
        names[name] = _message_class(descriptor, module_name, "")


def _message_class(descriptor: Descriptor, module_name: str, prefix: str) -> Any:
    qualified = f"{prefix}{descriptor.name}"
    nested = {
        name: _message_class(inner, module_name, f"{qualified}.")
        for name, inner in descriptor.nested_types_by_name.items()
    }
    members = {"DESCRIPTOR": descriptor, "__module__": module_name, "__qualname__": qualified}
    bases = (message.Message,)
    return reflection.GeneratedProtocolMessageType(descriptor.name, bases, nested | members)
