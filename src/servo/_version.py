"""The version of this installation. A wheel has a module with one constant in this place.

In a source tree no file holds the version: git tags give it, and the editable installation has it
on record. `importlib.metadata` would read the same record, but loading it costs more than all of
`import servo`.
"""

from __future__ import annotations

import os
import sys

_SUFFIX = ".dist-info"


def _of_installation(places: list[str]) -> str:
    """The version in the name of our ``.dist-info`` directory, the first one on the path."""
    for place in places:
        try:
            names = os.listdir(place or os.curdir)  # noqa: PTH208 - pathlib is slow to import
        except OSError:
            continue  # an archive, or not there
        for name in names:
            if name.startswith("arco_servo-") and name.endswith(_SUFFIX):
                return name.removeprefix("arco_servo-").removesuffix(_SUFFIX)
    return "0.0.0+unknown"


__version__ = _of_installation(sys.path)
