"""Doing without the garbage collector for a while."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused_gc() -> Iterator[None]:
    """Pause the cyclic collector while the block runs.

    Imports, syntax trees and definitions are many objects and hardly any cycles. Each time their
    number has grown by a quarter the collector would walk over all of them for nothing, which
    for 10,000 assets takes longer than everything else together.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
