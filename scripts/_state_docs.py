"""Render the states of tasks and runs: tables and diagrams that follow from the code.

``scripts/_state_docs.py`` writes them into ``docs/concepts/states.md``, between marks such as
``<!-- tasks -->`` and ``<!-- /tasks -->``; ``--check`` writes nothing and exits with 1 when the
page is not what the code says now. Which state may follow which comes from
``servo.controlplane.transitions``, what a state means from the comments of ``run.proto``. What
leads from one to the other is said here, once for each transition, and a transition of which
nothing is said is an error.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import _regen
from servo.controlplane.transitions import RUN_TRANSITIONS, TASK_TRANSITIONS
from servo.types.runs import RunState, TaskState

ROOT = Path(__file__).resolve().parent.parent
PAGE = Path("docs/concepts/states.md")
REMEDY = "run .venv/bin/python scripts/_state_docs.py and commit docs/concepts/states.md"

State = TaskState | RunState
Pair = tuple[State, State]
Table = Mapping[Any, frozenset[Any]]
_T = TaskState
_R = RunState


class StateDocsError(Exception):
    """The page cannot be written; the message says what is missing where."""


@dataclass(frozen=True, slots=True)
class Cause:
    """What leads from one state to another.

    Attributes:
        who: Whose doing it is.
        when: What happens, as a sentence.
        label: The same in a few words, for the diagram.
    """

    who: str
    when: str
    label: str


_PLANE = "control plane"
_WORKER = "worker"
_SOMEBODY = "somebody"

_STOPPED = Cause(_PLANE, "The run is stopped before the task was given out.", "stopped")
_SUCCEEDED = Cause(
    _WORKER, "The attempt ended well, its checks passed and its data is published.", "succeeded"
)
_RETRIED = Cause(
    _WORKER,
    "The attempt failed, timed out or was lost; the policy retries that and has an attempt left.",
    "failed, to be retried",
)
_FAILED = Cause(
    _WORKER,
    "The attempt failed in a way that is not retried, or it was the last one, or the run is being "
    "stopped.",
    "failed",
)
_ENDED = Cause(
    _WORKER,
    "The run is being stopped, and the attempt was ended or its worker was lost.",
    "stopped",
)

TASK_CAUSES: Final[Mapping[Pair, Cause]] = {
    (_T.BLOCKED, _T.READY): Cause(
        _PLANE, "Everything upstream has succeeded, or there is nothing upstream.", "upstream done"
    ),
    (_T.BLOCKED, _T.SKIPPED): Cause(
        _PLANE,
        "A task upstream, however far, failed for good; the reason names it.",
        "upstream failed",
    ),
    (_T.BLOCKED, _T.CANCELLED): Cause(
        _PLANE, "The run is stopped, or a task upstream was cancelled.", "stopped"
    ),
    (_T.READY, _T.DISPATCHED): Cause(
        _PLANE,
        "It was its turn and a worker had room: the next attempt has a lease.",
        "given to a worker",
    ),
    (_T.READY, _T.FAILED): Cause(
        _PLANE,
        "It can never be given out: the budget is spent, or it is set up wrongly.",
        "cannot start",
    ),
    (_T.READY, _T.CANCELLED): _STOPPED,
    (_T.DISPATCHED, _T.RUNNING): Cause(_WORKER, "It began the attempt.", "started"),
    (_T.DISPATCHED, _T.READY): Cause(
        _PLANE,
        "The worker was lost or handed the attempt back before it began; the attempt does not "
        "count.",
        "lost before it started",
    ),
    (_T.DISPATCHED, _T.SUCCEEDED): _SUCCEEDED,
    (_T.DISPATCHED, _T.RETRY_WAIT): _RETRIED,
    (_T.DISPATCHED, _T.FAILED): _FAILED,
    (_T.DISPATCHED, _T.CANCELLED): _ENDED,
    (_T.RUNNING, _T.SUCCEEDED): _SUCCEEDED,
    (_T.RUNNING, _T.RETRY_WAIT): _RETRIED,
    (_T.RUNNING, _T.FAILED): _FAILED,
    (_T.RUNNING, _T.CANCELLED): _ENDED,
    (_T.RETRY_WAIT, _T.READY): Cause(
        _PLANE, "The pause before the next attempt is over.", "pause over"
    ),
    (_T.RETRY_WAIT, _T.CANCELLED): _STOPPED,
}
RUN_CAUSES: Final[Mapping[Pair, Cause]] = {
    (_R.PENDING, _R.RUNNING): Cause(_WORKER, "It began the first attempt.", "first attempt"),
    (_R.PENDING, _R.CANCELLING): Cause(
        f"{_SOMEBODY}, or the {_PLANE}",
        "Somebody stops it, its time is over, its budget is spent, or a critical check failed.",
        "stopped",
    ),
    (_R.PENDING, _R.SUCCEEDED): Cause(_PLANE, "The plan has no tasks.", "nothing to do"),
    (_R.PENDING, _R.FAILED): Cause(
        _PLANE, "The last task ended without any attempt, and at least one failed.", "failed"
    ),
    (_R.RUNNING, _R.CANCELLING): Cause(
        f"{_SOMEBODY}, or the {_PLANE}",
        "Somebody stops it, its time is over, its budget is spent, or a critical check failed.",
        "stopped",
    ),
    (_R.RUNNING, _R.SUCCEEDED): Cause(_PLANE, "The last task succeeded.", "all succeeded"),
    (_R.RUNNING, _R.FAILED): Cause(
        _PLANE, "The last task ended, and at least one failed.", "some failed"
    ),
    (_R.CANCELLING, _R.CANCELLED): Cause(
        _PLANE, "The last attempt has ended; somebody had stopped the run.", "stopped on request"
    ),
    (_R.CANCELLING, _R.FAILED): Cause(
        _PLANE,
        "The last attempt has ended; a critical check or a spent budget had stopped the run.",
        "stopped by a failure",
    ),
    (_R.CANCELLING, _R.TIMED_OUT): Cause(
        _PLANE, "The last attempt has ended; the run's time was over.", "out of time"
    ),
}


class Page:
    """The parts of the page that follow from the code.

    Args:
        comments: The comments of the protos, by full name.
        tasks: What leads a task from one state to another.
        runs: What leads a run from one state to another.

    Raises:
        StateDocsError: Nothing is said of a state or of a transition.
    """

    def __init__(
        self,
        comments: Mapping[str, str],
        *,
        tasks: Mapping[Pair, Cause] = TASK_CAUSES,
        runs: Mapping[Pair, Cause] = RUN_CAUSES,
    ) -> None:
        self._comments = comments
        self.parts = {
            "tasks": self._part("TaskState", TASK_TRANSITIONS, tasks, _T.BLOCKED),
            "runs": self._part("RunState", RUN_TRANSITIONS, runs, _R.PENDING),
        }

    def rendered(self, text: str) -> str:
        """Return a page with its parts as the code says.

        Raises:
            StateDocsError: The page has no place for one of its parts, or several.
        """
        for name, part in self.parts.items():
            marks = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)", re.DOTALL)
            text, places = marks.subn(part.replace("\\", r"\\"), text)
            if places != 1:
                raise StateDocsError(f"{PAGE} has {places} places for {name!r}; it needs one")
        return text

    def _part(self, enum: str, table: Table, causes: Mapping[Pair, Cause], first: State) -> str:
        ways = {pair: _cause(causes, pair) for pair in _pairs(table)}
        blocks = self._states(enum, table), _diagram(table, ways, first), _transitions(ways)
        return "\n".join(["", *(line for block in blocks for line in [*block, ""]), ""])

    def _states(self, enum: str, table: Table) -> Iterator[str]:
        yield "| state | what it means |"
        yield "|---|---|"
        prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum).upper()
        for state in table:
            name = f"{_regen.PACKAGE}.{enum}.{prefix}_{state.name}"
            if name not in self._comments:
                raise StateDocsError(f"the protos say nothing of {name}; add a comment")
            yield f"| {state.name} | {self._comments[name]} |"


def _diagram(table: Table, ways: Mapping[Pair, Cause], first: State) -> Iterator[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield f"    [*] --> {first.name}"
    for (before, after), cause in ways.items():
        yield f"    {before.name} --> {after.name}: {cause.label}"
    for state, following in table.items():
        if not following:
            yield f"    {state.name} --> [*]"
    yield "```"


def _transitions(ways: Mapping[Pair, Cause]) -> Iterator[str]:
    yield "| from | to | when | whose doing |"
    yield "|---|---|---|---|"
    for (before, after), cause in ways.items():
        yield f"| {before.name} | {after.name} | {cause.when} | {cause.who} |"


def _cause(causes: Mapping[Pair, Cause], pair: Pair) -> Cause:
    if pair in causes:
        return causes[pair]
    before, after = pair
    raise StateDocsError(
        f"nothing is said of what leads from {type(before).__name__} {before.name} to "
        f"{after.name}; add it to scripts/_state_docs.py"
    )


def _pairs(table: Table) -> Iterator[Pair]:
    """Visit the transitions in the order in which the states are declared."""
    for before, following in table.items():
        for after in type(before):
            if after in following:
                yield before, after


def main(arguments: list[str] | None = None) -> int:
    """Run the script: 0 done or current, 1 the page is not current, 2 could not run."""
    parser = argparse.ArgumentParser(prog="scripts/_state_docs.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when stale")
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    path: Path = options.root / PAGE
    found = options.root / _regen.GENERATED / _regen.COMMENTS
    comments: dict[str, str] = json.loads(found.read_text(encoding="utf-8"))
    text = path.read_text(encoding="utf-8")
    try:
        wanted = Page(comments).rendered(text)
    except StateDocsError as error:
        print(f"state-docs: {error}", file=sys.stderr)
        return 2
    if text == wanted:
        return 0
    if options.check:
        print(f"state-docs: {PAGE} is not what the code says; {REMEDY}", file=sys.stderr)
        return 1
    path.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
