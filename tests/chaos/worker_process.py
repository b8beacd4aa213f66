"""A real worker that comes back at once: ``python -m servo.worker`` without its long pauses.

After a connection that broke a worker waits longer and longer, up to five seconds. Where the
control plane dies ten times a second, that would be all that a test does.
"""

from __future__ import annotations

import sys
from typing import Final

from servo.worker import __main__ as command
from servo.worker import connection

_PAUSES: Final = {"_FIRST_DELAY_SECONDS": 0.01, "_MAX_DELAY_SECONDS": 0.03}

if __name__ == "__main__":
    for name, seconds in _PAUSES.items():
        if not hasattr(connection, name):
            raise SystemExit(f"servo.worker.connection has no {name!r} any more")
        setattr(connection, name, seconds)
    sys.exit(command.main())
