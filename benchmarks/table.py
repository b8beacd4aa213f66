"""The table that people see."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from typing import Any, Final

from measure import Judged, Measurement

_NARROWEST: Final = 120
_VERDICTS: Final = {None: "", True: "ok", False: "OVER"}
_COLOURS: Final = {None: "", True: "[green]ok[/green]", False: "[bold red]OVER[/bold red]"}


def as_markdown(found: Sequence[Measurement], *, quick: bool) -> str:
    """Return measurements as a table for `README.md`."""
    lines = ["| what | median | floor or peer | ratio | limit | |", "|---|--:|--:|--:|--:|---|"]
    for one in found:
        verdict = "" if quick else _VERDICTS[one.is_within_limit]
        what = f"{one.what} ({one.note})" if one.note else one.what
        cells = (what, _value(one.median, one.unit), _beside(one), _ratio(one), _limit(one))
        lines.append(f"| {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines) + "\n"


def show(found: Sequence[Measurement], machine: dict[str, Any], *, quick: bool) -> None:
    """Print measurements to standard output."""
    # Here and not above: the process that starts what is measured has to stay small.
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    width = max(shutil.get_terminal_size().columns, _NARROWEST)
    console = Console(width=width, file=sys.stdout, highlight=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", ratio=1)
    for title in ("median", "floor or peer", "ratio", "limit"):
        table.add_column(title, justify="right")
    table.add_column("")
    for one in found:
        what = escape(one.what) + (f" [dim]({escape(one.note)})[/dim]" if one.note else "")
        table.add_row(
            what,
            _value(one.median, one.unit),
            _beside(one),
            _ratio(one),
            _limit(one),
            "" if quick else _COLOURS[one.is_within_limit],
        )
    console.print(table)
    console.print(
        f"\n[dim]{escape(machine['processor'])}, {machine['cores']} cores, "
        f"Python {machine['python']}, SQLite {machine['sqlite']}, {machine['system']}; "
        f"load {machine['load_before']:.1f} before, {machine['load_after']:.1f} after"
        f"{'; quick: limits not judged' if quick else ''}[/dim]"
    )


def _value(value: float, unit: str) -> str:
    if unit == "modules":
        return f"{value:.0f}"
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def _beside(one: Measurement) -> str:
    if one.beside_median is None:
        return ""
    return f"{_value(one.beside_median, one.unit)} ({one.beside})"


def _ratio(one: Measurement) -> str:
    if one.ratio is None or one.difference is None:
        return ""
    if one.judged is Judged.DIFFERENCE:
        return f"+{_value(one.difference, one.unit)}"
    return f"{one.ratio:.2f} x" if one.ratio >= 0.1 else f"{one.ratio:.4f} x"


def _limit(one: Measurement) -> str:
    if one.limit is None:
        return ""
    if one.judged is Judged.RATIO:
        return f"{one.limit:g} x"
    sign = "+" if one.judged is Judged.DIFFERENCE else ""
    return f"{sign}{one.limit:g} {'' if one.unit == 'modules' else one.unit}".rstrip()
