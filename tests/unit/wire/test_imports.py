"""What importing the wire loads."""

from __future__ import annotations

import os
import subprocess
import sys


def test_importing_the_wire_loads_neither_grpc_nor_what_only_readers_of_json_need() -> None:
    source = (
        "import sys, servo._wire\n"
        "unwanted = {'grpc', 'google.protobuf.json_format', 'google.protobuf.descriptor_pb2'}\n"
        "print(sorted(unwanted & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.strip() == "[]"
