"""What commands show on a real terminal: text of others moves nothing, tables fit, names paste."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from servo import _terminal
from servo_project import ServoProject, wait_until

EVIL = "\x1b]0;PWNED\x07\x1b[2J\rfake\u202e"
HOSTILE = f"""
from servo import StaticDimension, asset, row_count

EVIL = {EVIL!r}
ODD = ["plain", "a b", "a'b", 'a"b', "a=b", "comma,val", "x]y", "100%", "a%20b", "a..b", "li\\nne",
       "ünï", "", "null", "17", "2025-01-15", "-x", "*", "$HOME", "`id`", EVIL]


@asset(namespace="esc", max_retries=0, description=f"described {{EVIL}}", tags={{"t": EVIL}})
def esc(ctx):
    print(f"printed {{EVIL}} \\x1b[31mred")
    ctx.log.info(f"logged {{EVIL}}")
    raise ValueError(f"raised {{EVIL}}")


@asset(namespace="esc", max_retries=0, checks=[row_count(min_rows=5, severity="warning")])
def few(ctx):
    return [{{"a": 1}}]


@asset(namespace="odd", partitions=StaticDimension("k", values=ODD), max_retries=0)
def st(ctx):
    print("for", repr(ctx.partition_key.dimensions["k"]))
    raise ValueError("boom")
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServoProject]:
    root = tmp_path_factory.mktemp("hostile")
    (root / "pyproject.toml").write_text("[tool.servo]\n")
    project = ServoProject(root)
    project.write("assets/a.py", HOSTILE)
    project.start("dev")
    wait_until(lambda: project.server is not None, "servo dev serves")
    try:
        assert project.run("run", "esc.*", "--run-key", f"key {EVIL}").code == 1
        assert project.run("run", "odd.st", "--all-partitions").code == 1
        yield project
    finally:
        project.close()


def run_of(project: ServoProject, selection: str) -> dict[str, Any]:
    runs = project.ok("status", "--json").json["runs"]
    found: dict[str, Any] = next(run for run in runs if run["selection"] == [selection])
    return found


def visible(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;:]*m", "", text)


COMMANDS = [
    ("status",),
    ("status", "RUN"),
    ("why", "RUN"),
    ("why", "esc.esc"),
    ("logs", "RUN"),
    ("events", "--run", "RUN"),
    ("asset", "list"),
    ("asset", "show", "esc.esc"),
    ("run", "esc.esc", "--run-key", f"other {EVIL}"),
    ("rerun", "RUN"),
    ("cancel", "RUN", "--reason", f"because {EVIL}"),
    ("logs", "RUN", "--task", f"no {EVIL}"),
    ("why", f"no {EVIL}"),
]


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_text_of_others_moves_no_terminal(hostile: ServoProject, words: tuple[str, ...]) -> None:
    run_id = run_of(hostile, "esc.*")["runId"]
    _, shown = hostile.on_terminal(*(run_id if word == "RUN" else word for word in words))
    assert "\x1b]" not in shown
    assert "\x1b[2J" not in shown
    assert "\u202e" not in shown
    assert "\x07" not in shown
    # A terminal turns each line feed into these two; a live display redraws its own lines.
    if words[0] not in ("run", "rerun"):
        assert "\r" not in shown.replace("\r\n", "")


def test_control_characters_are_shown_escaped_and_json_has_them_as_they_are(
    hostile: ServoProject,
) -> None:
    run_id = run_of(hostile, "esc.*")["runId"]
    _, shown = hostile.on_terminal("logs", run_id, "--task", "esc.esc")
    assert r"logged \x1b]0;PWNED\x07\x1b[2J" in shown
    assert r"fake\u202e" in shown
    assert hostile.ok("status", run_id, "--json").json["runKey"] == f"key {EVIL}"


@pytest.mark.parametrize("columns", [60, 80, 100, 200])
def test_status_fits_the_terminal_and_shows_whole_ids(hostile: ServoProject, columns: int) -> None:
    runs = hostile.ok("status", "--json").json["runs"]
    _, shown = hostile.on_terminal("status", columns=columns)
    lines = visible(shown).splitlines()
    assert all(run["runId"] in shown for run in runs)
    assert all(_terminal.width(line) <= columns for line in lines)
    _, shown = hostile.on_terminal("status", run_of(hostile, "odd.st")["runId"], columns=columns)
    shown = visible(shown)
    assert all(f"odd.st[k={k}]" in shown for k in ("plain", "a=b", '"comma,val"'))


def test_every_label_that_is_printed_can_be_pasted_into_every_command(
    hostile: ServoProject,
) -> None:
    run = hostile.ok("status", run_of(hostile, "odd.st")["runId"], "--json").json
    shown = hostile.ok("events", "--run", run["runId"]).out
    printed = hostile.ok("status", run["runId"]).out
    labels = dict.fromkeys(re.findall(r"^(odd\.st\[k=.*\]) +failed  ", printed, re.MULTILINE))
    assert len(labels) == len(run["tasks"]) == 21
    assert all(f"{label}  failed" in shown for label in labels)
    odd = [label for label in labels if not re.fullmatch(r"odd.st\[k=[\w ]+\]", label)]
    for label in odd[:: len(odd) // 4]:
        logs = hostile.ok("logs", run["runId"], "--task", label, "--json").out.splitlines()
        assert len({line for line in logs if "for " in line}) == 1
        assert label in hostile.ok("why", label).out


def test_the_command_after_a_failure_works_when_it_is_pasted(hostile: ServoProject) -> None:
    run = hostile.run("run", "odd.st", "--partition", 'k="comma,val"')
    command = next(line for line in run.out.splitlines() if "servo logs" in line)
    words = shlex.split(command[command.index("servo logs") :])
    assert words[-1] == 'odd.st[k="comma,val"]'
    assert "for 'comma,val'" in hostile.ok(*words[1:]).out
    assert f"✗ {words[-1]}  user_code" in hostile.run("run", words[-1]).out
    refused = hostile.run("rerun", "latest", words[-1])
    assert refused.code == 2
    assert f"run that partition again: servo run {shlex.quote(words[-1])}" in refused.err
