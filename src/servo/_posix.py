"""Modules of the standard library that are complete on Linux and macOS only.

Code that needs them imports them from here. On Windows that import is an error that says in one
line what to do; commands for a control plane elsewhere import none of it and work there.
"""

from __future__ import annotations

import signal

from servo import errors

try:
    import fcntl
    import resource
    import termios
except ImportError as exc:
    raise errors.ConfigurationError(
        "this needs Linux or macOS: it uses their file locks, signals and process groups",
        code="PLATFORM_NOT_SUPPORTED",
        hint="On Windows use it in WSL, or set api_url and use a control plane on another machine.",
    ) from exc

__all__ = ["fcntl", "resource", "signal", "termios"]
