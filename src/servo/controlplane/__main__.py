"""``python -m servo.controlplane``: a control plane alone, without a worker."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import secrets
import signal
import sys
from datetime import timedelta
from pathlib import Path

from servo import errors
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.manifest import atomic


def write_server_file(path: Path, url: str, api_key: str) -> None:
    """Say where this process serves, readable by the owner only; atomic.

    Args:
        path: The file, usually ``.servo/server.json``.
        url: The gRPC URL.
        api_key: The key that callers have to present.
    """
    document = {"grpcUrl": url, "apiKey": api_key, "pid": os.getpid()}
    atomic.write(path, json.dumps(document).encode(), mode=0o600)


async def _serve(config: ControlPlaneConfig, server_file: Path | None) -> None:
    plane = ControlPlane(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    url = await plane.start()
    try:
        if server_file is not None:
            write_server_file(server_file, url, config.api_key)
        print(url, flush=True)
        await stop.wait()
    finally:
        if server_file is not None:
            server_file.unlink(missing_ok=True)
        await plane.stop()


def main() -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m servo.controlplane", description=__doc__)
    parser.add_argument("--database", type=Path, required=True, help="the SQLite file")
    parser.add_argument("--listen", default="127.0.0.1:0", help="host:port, port 0 for a free one")
    parser.add_argument("--server-file", type=Path, help="write URL, key and pid to this file")
    arguments = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s %(name)s %(message)s")
    config = ControlPlaneConfig(
        database=arguments.database,
        listen=arguments.listen,
        api_key=os.environ.get("SERVO_API_KEY") or secrets.token_urlsafe(32),
        lease_length=timedelta(seconds=float(os.environ.get("SERVO_LEASE_SECONDS") or 30)),
    )
    try:
        asyncio.run(_serve(config, arguments.server_file))
    except errors.ServoError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
