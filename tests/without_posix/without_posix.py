"""Takes from this process what Windows does not have; imported before Servo.

Libraries are loaded first: on Windows they have code of their own for it.
"""

from __future__ import annotations

import asyncio  # noqa: F401  # loaded while it can be
import contextlib
import getpass  # noqa: F401
import importlib
import logging.handlers  # noqa: F401
import multiprocessing  # noqa: F401
import os
import shutil  # noqa: F401
import signal
import subprocess  # noqa: F401
import sys
import tempfile  # noqa: F401

_LIBRARIES = ("click", "grpc", "grpc.aio", "httpx", "pyarrow", "rich.console", "rich.live", "yoyo")
_MODULES = ("fcntl", "grp", "pwd", "resource", "termios", "tty", "pty")
_OF_OS = (
    "O_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "O_NONBLOCK", "WNOHANG", "fchmod", "fchown", "fork",
    "forkpty", "geteuid", "getegid", "getgid", "getloadavg", "getpgid", "getpgrp", "getpriority",
    "getuid", "killpg", "mkfifo", "pread", "pwrite", "register_at_fork", "sched_getaffinity",
    "sched_setaffinity", "setpgid", "setpriority", "setsid", "wait4", "waitid",
)  # fmt: skip
_SIGNALS = (
    "SIGALRM", "SIGCHLD", "SIGCONT", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP",
    "SIGTSTP", "SIGTTIN", "SIGTTOU", "SIGUSR1", "SIGUSR2", "SIGWINCH", "alarm", "getitimer",
    "pause", "pthread_sigmask", "setitimer",
)  # fmt: skip

for _name in _LIBRARIES:
    with contextlib.suppress(ImportError):
        importlib.import_module(_name)
for _name in _MODULES:
    sys.modules[_name] = None  # type: ignore[assignment]  # what makes an import of it fail
for _name in _OF_OS:
    if hasattr(os, _name):
        delattr(os, _name)
for _name in _SIGNALS:
    if hasattr(signal, _name):
        delattr(signal, _name)
