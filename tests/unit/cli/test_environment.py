from __future__ import annotations

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from servo.cli import _environment
from servo.cli._environment import Environment
from servo.manifest.project import Project

names = st.from_regex(r"[A-Z_][A-Z0-9_]{0,8}", fullmatch=True)
environments = st.dictionaries(names, st.text(max_size=8).filter(lambda text: "\0" not in text))


@given(environments, environments)
def test_exactly_the_variables_that_differ_are_named(
    there: dict[str, str], here: dict[str, str]
) -> None:
    found = Environment.of(there).differences(here)
    expected = [name for name in sorted(there.keys() | here) if there.get(name) != here.get(name)]
    assert [text.split(" ", 1)[0] for text in found] == expected
    assert Environment.of(there).differences(there) == []


@given(environments)
def test_an_environment_survives_its_document(there: dict[str, str]) -> None:
    document = json.loads(json.dumps(Environment.of(there).to_document()))
    again = Environment.from_document(document)
    assert again is not None
    assert again.differences(there) == []


def test_a_value_is_not_in_the_document_and_two_salts_give_two_digests() -> None:
    one, two = (Environment.of({"KEY": "hunter2"}) for _ in range(2))
    assert "hunter2" not in json.dumps(one.to_document())
    assert one.digests != two.digests
    assert "hunter2" not in repr(one)


def test_bytes_that_are_no_text_are_compared(tmp_path: Path) -> None:
    there = Environment.of({"KEY": "\udce9"})
    assert there.differences({"KEY": "\udcea"}) == ["KEY has another value"]


def test_a_file_of_an_older_version_has_no_environment() -> None:
    assert Environment.from_document(None) is None


def test_what_may_differ_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    project = Project.load(tmp_path, environ={})
    there = Environment.of(_environment.facts({"TERM": "x", "A_B": "1", "C": "1"}, project))
    here = _environment.facts({"SSH_TTY": "y", "A_B": "2", "C": "2"}, project)
    assert there.differences(here, ["A_*"]) == ["C has another value"]


def test_a_setting_counts_and_its_variable_does_not(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    plain = Project.load(tmp_path, environ={})
    environ = {"SERVO_WORKER_SLOTS": "3", "SERVO_API_KEY": "k", "SERVO_WORKSPACE_ID": "w"}
    other = Project.load(tmp_path, environ=environ)
    there = Environment.of(_environment.facts({}, plain))
    assert there.differences(_environment.facts(environ, other)) == [
        "setting worker_slots has another value"
    ]


def test_a_long_list_of_differences_is_cut() -> None:
    text = _environment.listed([f"V{number} has another value" for number in range(12)])
    assert text.endswith("V9 has another value, and 2 more")
