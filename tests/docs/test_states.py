"""The page of states says what the transitions and the protos say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import _regen
import _state_docs
from servo.controlplane.transitions import RUN_TRANSITIONS, TASK_TRANSITIONS
from servo.types.runs import RunState, TaskState

ROOT = _state_docs.ROOT
COMMENTS = json.loads((ROOT / _regen.GENERATED / _regen.COMMENTS).read_text(encoding="utf-8"))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (_state_docs.PAGE, _regen.GENERATED / _regen.COMMENTS):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_page_is_current() -> None:
    assert _state_docs.main(["--check"]) == 0, _state_docs.REMEDY


def test_a_page_that_was_edited_is_named_and_made_anew(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tree / _state_docs.PAGE
    written = page.read_text()
    page.write_text(written.replace("| BLOCKED | READY |", "| BLOCKED | RUNNING |"))
    assert _state_docs.main(["--check", "--root", str(tree)]) == 1
    assert _state_docs.REMEDY in capsys.readouterr().err
    assert _state_docs.main(["--root", str(tree)]) == 0
    assert page.read_text() == written


def test_a_reworded_comment_of_the_protos_makes_the_page_stale(tree: Path) -> None:
    path = tree / _regen.GENERATED / _regen.COMMENTS
    path.write_text(path.read_text().replace("Waits for upstream tasks.", "Waits."))
    assert _state_docs.main(["--check", "--root", str(tree)]) == 1
    assert _state_docs.main(["--root", str(tree)]) == 0
    assert "| BLOCKED | Waits. |" in (tree / _state_docs.PAGE).read_text()


def test_a_page_without_a_place_for_a_part_is_refused(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / _state_docs.PAGE).write_text("# States\n")
    assert _state_docs.main(["--root", str(tree)]) == 2
    assert "has 0 places for 'tasks'" in capsys.readouterr().err


def test_a_transition_of_which_nothing_is_said_is_named() -> None:
    less = dict(_state_docs.TASK_CAUSES)
    del less[TaskState.READY, TaskState.DISPATCHED]
    with pytest.raises(_state_docs.StateDocsError, match="TaskState READY to DISPATCHED; add it"):
        _state_docs.Page(COMMENTS, tasks=less)


def test_a_state_of_which_the_protos_say_nothing_is_named() -> None:
    less = {name: text for name, text in COMMENTS.items() if not name.endswith("RUN_STATE_FAILED")}
    with pytest.raises(_state_docs.StateDocsError, match="RUN_STATE_FAILED; add a comment"):
        _state_docs.Page(less)


def test_every_state_and_every_transition_is_there() -> None:
    parts = _state_docs.Page(COMMENTS).parts
    for name, states, table in (
        ("tasks", TaskState, TASK_TRANSITIONS),
        ("runs", RunState, RUN_TRANSITIONS),
    ):
        for state in states:
            assert f"\n| {state.name} | " in parts[name]
            for after in states:
                row = f"\n| {state.name} | {after.name} | "
                assert (row in parts[name]) is (after in table[state])


def test_the_diagram_begins_and_ends_where_the_states_do() -> None:
    parts = _state_docs.Page(COMMENTS).parts
    assert "[*] --> BLOCKED\n" in parts["tasks"]
    assert "[*] --> PENDING\n" in parts["runs"]
    for state in (*TaskState, *RunState):
        part = parts["tasks" if isinstance(state, TaskState) else "runs"]
        assert (f"    {state.name} --> [*]\n" in part) is state.is_terminal
