"""Hold the sessions of workers that wait, with heartbeats as negotiated.

``python benchmarks/drive_idle.py URL COUNT`` prints ``welcome`` when all have joined, and goes when
standard input ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import AsyncExitStack

from scripted import Worker, at_work

from servo.client import AsyncClient


async def main() -> None:
    url, count = sys.argv[1:]
    async with AsyncExitStack() as stack:
        for number in range(int(count)):
            # Channels with the same arguments would share one connection.
            client = AsyncClient(
                url,
                api_key=os.environ["SERVO_API_KEY"],
                source="benchmark",
                max_response_bytes=4_000_000 + number,
            )
            await stack.enter_async_context(client)
            await stack.enter_async_context(at_work(client, Worker(credit=4)))
        print("welcome", flush=True)
        await asyncio.to_thread(sys.stdin.read)


asyncio.run(main())
