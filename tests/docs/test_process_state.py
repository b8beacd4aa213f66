from __future__ import annotations

import re
from pathlib import Path

from servo.worker.process_state import ENTRIES

PAGE = Path(__file__).resolve().parents[2] / "docs/howto/process-state.md"


def table() -> dict[str, str]:
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| [^|]+ \|$", PAGE.read_text(), re.MULTILINE)
    return {name.strip(): effect.strip() for name, effect in rows if name != "state"}


def test_every_state_that_is_compared_is_in_the_table_in_the_same_order() -> None:
    assert [entry.name for entry in ENTRIES] == list(table())[:-1]


def test_the_table_says_what_is_put_back_what_ends_the_process_and_what_is_not_logged() -> None:
    found = table()
    for entry in ENTRIES:
        effect = found[entry.name]
        ends = entry.restore is None or entry.name in ("running threads", "child processes")
        assert effect.startswith("ends the process") == ends, entry.name
        assert effect.endswith("no line") == (entry.quiet and not ends), entry.name
