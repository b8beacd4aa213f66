from __future__ import annotations

from pathlib import Path

import pytest

from servo import errors
from servo.config import Settings, load


def _pyproject(root: Path, text: str) -> Path:
    (root / "pyproject.toml").write_text(text)
    return root


def test_without_any_layer_every_setting_has_its_default() -> None:
    assert load(None, {}) == Settings()


def test_a_file_wins_over_the_default(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, '[tool.servo]\nworkspace_id = "prod"\n')
    assert load(root, {}).workspace_id == "prod"


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, "[tool.servo]\nlease_seconds = 5\n")
    assert load(root, {"SERVO_LEASE_SECONDS": "7"}).lease_seconds == 7


def test_an_argument_wins_over_the_environment() -> None:
    settings = load(None, {"SERVO_TENANT_ID": "a"}, {"tenant_id": "b"})
    assert settings.tenant_id == "b"


def test_an_argument_that_was_not_given_changes_nothing() -> None:
    settings = load(None, {"SERVO_TENANT_ID": "a"}, {"tenant_id": None})
    assert settings.tenant_id == "a"


def test_each_setting_says_where_it_comes_from(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, '[tool.servo]\nworkspace_id = "prod"\n')
    found = load(root, {"SERVO_LEASE_SECONDS": "7"}, {"debug": True}).describe()
    sources = {one.name: one.source for one in found}
    assert sources["workspace_id"] == "pyproject.toml"
    assert sources["lease_seconds"] == "SERVO_LEASE_SECONDS"
    assert sources["debug"] == "argument"
    assert sources["tenant_id"] == "default"


def test_the_key_is_never_shown() -> None:
    settings = load(None, {"SERVO_API_KEY": "hunter2"})
    assert settings.api_key == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in str(list(settings.describe()))


def test_a_key_in_the_committed_file_is_refused(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, '[tool.servo]\napi_key = "hunter2"\n')
    with pytest.raises(errors.ConfigurationError, match="SERVO_API_KEY") as caught:
        load(root, {})
    assert "hunter2" not in str(caught.value)


def test_an_unknown_key_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, '[tool.servo]\nworkspace = "prod"\n')
    with pytest.raises(errors.ConfigurationError, match="did you mean 'workspace_id'"):
        load(root, {})


def test_a_slip_in_a_variable_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(errors.ConfigurationError, match="did you mean 'SERVO_LEASE_SECONDS'"):
        load(None, {"SERVO_LEASE_SECOND": "7"})


def test_variables_of_other_programs_are_ignored() -> None:
    assert load(None, {"SERVO_MOTOR_SPEED": "9", "PATH": "/bin"}) == Settings()


def test_an_unknown_argument_is_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="lease_seconds"):
        load(None, {}, {"leases_seconds": 3})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("lease_seconds = '30'", "a whole number"),
        ("lease_seconds = true", "a whole number"),
        ("lease_seconds = 0", "at least 1"),
        ("workspace_id = 3", "a string"),
        ("workspace_id = ''", "empty"),
        ("debug = 1", "true or false"),
        ("paths = 'assets'", "a list"),
        ("paths = [1]", "non-empty strings"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(tmp_path: Path, line: str, expected: str) -> None:
    root = _pyproject(tmp_path, f"[tool.servo]\n{line}\n")
    with pytest.raises(errors.ConfigurationError, match=expected):
        load(root, {})


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("SERVO_LEASE_SECONDS", "soon", "a whole number"),
        ("SERVO_LEASE_SECONDS", "-1", "at least 1"),
        ("SERVO_DEBUG", "perhaps", "1 or 0"),
    ],
)
def test_a_variable_of_the_wrong_type_is_refused(variable: str, text: str, expected: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=expected) as caught:
        load(None, {variable: text})
    assert variable in str(caught.value)


def test_a_list_in_a_variable_is_split_like_a_search_path() -> None:
    assert load(None, {"SERVO_PATHS": "one:two"}).paths == ("one", "two")


@pytest.mark.parametrize(("text", "expected"), [("1", True), ("Yes", True), ("0", False)])
def test_a_flag_in_a_variable_is_read(text: str, expected: bool) -> None:
    assert load(None, {"SERVO_DEBUG": text}).debug is expected


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, "[tool.servo\n")
    with pytest.raises(errors.ConfigurationError, match=r"pyproject\.toml.*line 1"):
        load(root, {})


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, "[tool]\nservo = 3\n")
    with pytest.raises(errors.ConfigurationError, match=r"write a table"):
        load(root, {})
