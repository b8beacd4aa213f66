from __future__ import annotations

import dataclasses
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.config import Settings, load
from servo.config.settings import setting_fields, variable, without_credentials


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


@pytest.mark.parametrize("one", setting_fields(), ids=lambda one: one.name)
@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_variable_counts_as_not_given(
    tmp_path: Path, one: dataclasses.Field[Any], text: str
) -> None:
    name = variable(one.name)
    root = _write(tmp_path, dotenv=f"{name}='{text}'\n")
    assert load(root, {name: text}) == Settings()
    assert load(root, {name: text}).sources == {}


def test_an_empty_variable_leaves_what_a_lower_layer_says(tmp_path: Path) -> None:
    root = _write(tmp_path, servo="worker_slots = 3\n", dotenv="SERVO_WORKER_SLOTS=\n")
    assert load(root, {"SERVO_WORKER_SLOTS": ""}).worker_slots == 3


@pytest.mark.parametrize("word", ["embedded", "Embedded"])
def test_the_word_embedded_chooses_the_projects_own_control_plane(
    tmp_path: Path, word: str
) -> None:
    root = _write(tmp_path, servo="api_url = 'grpc://plane:1'\n")
    assert load(root, {"SERVO_API_URL": word}).api_url == ""


def test_without_an_environment_that_of_the_process_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVO_WORKER_SLOTS", "5")
    assert load(str(tmp_path)).worker_slots == 5
    assert load(str(tmp_path), {}).worker_slots == 0


def test_a_home_that_is_not_known_is_said(tmp_path: Path) -> None:
    with pytest.raises(errors.ConfigurationError, match=r"SERVO_TLS_CA.*home directory"):
        load(tmp_path, {"SERVO_TLS_CA": "~there-is-no-such-user/ca.pem"})


def test_a_child_finds_the_data_where_its_parent_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    children = load(None, {"SERVO_DATA_ROOT": "tables"}).for_children()
    assert children == {"SERVO_DATA_ROOT": str(tmp_path / "tables")}


def test_what_opens_a_control_plane_is_not_inherited() -> None:
    secret = {"SERVO_API_KEY", "SERVO_API_KEY_FILE", "SERVO_DATABASE_URL", "SERVO_TLS_KEY"}
    environ = dict.fromkeys([*secret, "SERVO_TLS__KEY", "SERVO_WORKER_SLOTS", "HOME"], "1")
    assert without_credentials(environ) == {"SERVO_WORKER_SLOTS": "1", "HOME": "1"}


def test_a_file_that_is_no_toml_is_named_with_the_line(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, "[tool.servo\n")
    with pytest.raises(errors.ConfigurationError, match=r"pyproject\.toml.*line 1"):
        load(root, {})


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    root = _pyproject(tmp_path, "[tool]\nservo = 3\n")
    with pytest.raises(errors.ConfigurationError, match=r"write a table"):
        load(root, {})


def _write(root: Path, **files: str) -> Path:
    names = {"pyproject": "pyproject.toml", "servo": "servo.toml", "dotenv": ".env"}
    for name, text in files.items():
        (root / names[name]).write_text(text)
    return root


LAYERS = ("pyproject", "servo", "profile", "dotenv", "environment", "flags", "arguments")


def _everywhere(root: Path, layers: tuple[str, ...]) -> Settings:
    """Load settings where each of the layers gives its own place as the workspace."""
    profile = '[profiles.p]\nworkspace_id = "profile"\n' if "profile" in layers else "[profiles.p]"
    servo = 'workspace_id = "servo"\n' if "servo" in layers else ""
    _write(
        root,
        pyproject='[tool.servo]\nworkspace_id = "pyproject"\n' if "pyproject" in layers else "",
        servo=f"{servo}{profile}",
        dotenv="SERVO_WORKSPACE_ID=dotenv\n" if "dotenv" in layers else "",
    )
    return load(
        root,
        {"SERVO_WORKSPACE_ID": "environment"} if "environment" in layers else {},
        {"workspace_id": "arguments"} if "arguments" in layers else {},
        flags={"workspace_id": "flags"} if "flags" in layers else {},
        profile="p",
    )


@given(st.lists(st.sampled_from(LAYERS), min_size=1, unique=True))
def test_the_highest_layer_wins_over_all_below(chosen: list[str]) -> None:
    ordered = tuple(layer for layer in LAYERS if layer in chosen)
    with tempfile.TemporaryDirectory() as directory:
        settings = _everywhere(Path(directory), ordered)
    assert settings.workspace_id == ordered[-1]
    (found,) = [one for one in settings.describe() if one.name == "workspace_id"]
    beaten = [*reversed(ordered[:-1]), "default"]
    assert [origin.value for origin in found.beaten] == beaten


def test_an_explanation_says_who_won_and_what_it_beat(tmp_path: Path) -> None:
    settings = _everywhere(tmp_path, LAYERS)
    (found,) = [one for one in settings.describe() if one.name == "workspace_id"]
    assert found.source == "argument"
    assert [one.source for one in found.beaten] == [
        "command line",
        "SERVO_WORKSPACE_ID",
        "SERVO_WORKSPACE_ID in .env",
        "profile 'p' of servo.toml",
        "servo.toml",
        "pyproject.toml",
        "default",
    ]


def test_only_what_wins_is_validated(tmp_path: Path) -> None:
    root = _write(tmp_path, pyproject="[tool.servo]\nlease_seconds = 'soon'\n")
    assert load(root, {"SERVO_LEASE_SECONDS": "7"}).lease_seconds == 7


@pytest.mark.parametrize(
    "text",
    ['tls_ca = "ca.pem"', '[tls]\nca = "ca.pem"', 'tls.ca = "ca.pem"', 'tls = {ca="ca.pem"}'],
)
def test_a_table_can_be_written_in_every_way_that_toml_has(tmp_path: Path, text: str) -> None:
    assert load(_write(tmp_path, servo=text), {}).tls_ca == str(tmp_path / "ca.pem")


@pytest.mark.parametrize("name", ["SERVO_TLS_CA", "SERVO_TLS__CA"])
def test_two_underscores_in_a_variable_are_a_table(name: str) -> None:
    assert load(None, {name: "/ca.pem"}).tls_ca == "/ca.pem"


def test_one_layer_cannot_say_the_same_in_two_ways() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"two ways to write 'tls\.ca'") as caught:
        load(None, {"SERVO_TLS_CA": "a", "SERVO_TLS__CA": "b"})
    assert "SERVO_TLS_CA" in str(caught.value)
    assert "SERVO_TLS__CA" in str(caught.value)


@pytest.mark.parametrize(
    ("servo", "environ", "sources"),
    [
        ("tls = 'off'", {"SERVO_TLS_CA": "x"}, ("'tls' in servo.toml", "SERVO_TLS_CA")),
        ("[tls]\nca = 'x'", {"SERVO_TLS": "off"}, ("'tls.ca' in servo.toml", "SERVO_TLS")),
        ("[tls]", {"SERVO_TLS": "off"}, ("'tls' in servo.toml", "SERVO_TLS")),
        ("timeout = 3", {"SERVO_TIMEOUT__READ": "1"}, ("'timeout' in servo.toml", "SERVO_TIMEOUT")),
        ("[timeout]\nread = 3", {"SERVO_TIMEOUT": "1"}, ("'timeout.read'", "SERVO_TIMEOUT")),
    ],
)
def test_a_table_against_a_value_is_an_error_that_names_both_sources(
    tmp_path: Path, servo: str, environ: dict[str, str], sources: tuple[str, str]
) -> None:
    with pytest.raises(errors.ConfigurationError, match="is a table because of") as caught:
        load(_write(tmp_path, servo=servo), environ)
    assert all(source in str(caught.value) for source in sources)


@pytest.mark.parametrize(
    ("servo", "expected"),
    [
        ("tls = 'off'", r"'tls' is a table, so set 'tls\.ca'"),
        ("[timeout]\nread = 3", "makes 'timeout' a table; it is a single value"),
        ("[timeout]", "makes 'timeout' a table"),
        ("[tls]\ncaa = 'x'", r"unknown 'tls\.caa' in servo\.toml; did you mean 'tls\.ca'"),
        ("[tlss]\nca = 'x'", "did you mean 'tls'"),
        ("worksapce_id = 'x'", r"'worksapce_id' in servo\.toml; did you mean 'workspace_id'"),
        ("profiles = 3", "must hold tables"),
        ("[profiles]\nprod = 3", "must hold tables"),
        ("[profiles.other]\ntimeot = 3", r"\[profiles\.other\] of servo\.toml; did you mean 'tim"),
        ("[profiles.other.profiles.x]", "unknown 'profiles'"),
    ],
)
def test_a_key_in_the_wrong_place_is_refused(tmp_path: Path, servo: str, expected: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=expected):
        load(_write(tmp_path, servo=servo), {})


def test_a_file_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    servo = "timeout = " + "[" * 100_000
    with pytest.raises(errors.ConfigurationError, match=r"servo\.toml"):
        load(_write(tmp_path, servo=servo), {})
    deep = ".".join(["a"] * 5_000)
    with pytest.raises(errors.ConfigurationError, match="unknown 'a'"):
        load(_write(tmp_path, servo=f"[{deep}]\nb = 1\n"), {})


def test_a_slip_below_a_table_is_refused_in_a_variable_too() -> None:
    with pytest.raises(errors.ConfigurationError, match=r"did you mean 'tls\.ca'"):
        load(None, {"SERVO_TLS__CAA": "x"})


PROFILES = """
[profiles.prod]
api_url = "grpcs://prod:443"
[profiles.staging.tls]
ca = "staging.pem"
"""


@pytest.mark.parametrize("how", ["argument", "environment", "dotenv"])
def test_a_profile_is_chosen(tmp_path: Path, how: str) -> None:
    root = _write(
        tmp_path, servo=PROFILES, dotenv="SERVO_PROFILE=prod\n" if how == "dotenv" else ""
    )
    environ = {"SERVO_PROFILE": "prod"} if how == "environment" else {}
    settings = load(root, environ, profile="prod" if how == "argument" else None)
    assert (settings.profile, settings.api_url) == ("prod", "grpcs://prod:443")


def test_without_a_choice_no_profile_counts(tmp_path: Path) -> None:
    settings = load(_write(tmp_path, servo=PROFILES), {})
    assert (settings.profile, settings.api_url) == ("", "")


def test_the_choice_on_the_command_line_wins(tmp_path: Path) -> None:
    root = _write(tmp_path, servo=PROFILES)
    settings = load(root, {"SERVO_PROFILE": "prod"}, profile="staging")
    assert settings.tls_ca == str(tmp_path / "staging.pem")


def test_a_profile_may_be_written_in_either_file_or_both(tmp_path: Path) -> None:
    root = _write(
        tmp_path,
        pyproject='[tool.servo.profiles.ci]\ntimeout = 1\nretries = 0\nworkspace_id = "ci"',
        servo="timeout = 8\n[profiles.ci]\ntimeout = 2",
    )
    settings = load(root, {}, profile="ci")
    assert (settings.timeout, settings.retries, settings.workspace_id) == (2.0, 0, "ci")
    (found,) = [one for one in settings.describe() if one.name == "timeout"]
    assert [one.source for one in found.beaten] == [
        "profile 'ci' of pyproject.toml",
        "servo.toml",
        "default",
    ]


@pytest.mark.parametrize(
    ("servo", "expected"),
    [
        (PROFILES, "no profile 'prdo'; did you mean 'prod'"),
        ("[profiles.a]\n[profiles.b]", "there are 'a', 'b'"),
        ("", r"make it with \[profiles\.prdo\] in servo\.toml"),
    ],
)
def test_an_unknown_profile_is_refused(tmp_path: Path, servo: str, expected: str) -> None:
    with pytest.raises(errors.ConfigurationError, match=expected):
        load(_write(tmp_path, servo=servo), {}, profile="prdo")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("SERVO_API_KEY=plain", "plain"),
        ("export SERVO_API_KEY='with \"quotes\"'", 'with "quotes"'),
        ('SERVO_API_KEY="a # b"  # a comment', "a # b"),
        ("SERVO_API_KEY=${HOME}$x", "${HOME}$x"),
        ("SERVO_API_KEY=first\nSERVO_API_KEY=second", "second"),
        ("A broken 'line\n\nSERVO_API_KEY=key", "key"),
        ("\ufeffSERVO_API_KEY=key\r\nOTHER=1\r\n", "key"),
    ],
)
def test_a_line_of_dotenv_is_read(tmp_path: Path, line: str, expected: str) -> None:
    (tmp_path / ".env").write_bytes(f"# comment\n{line}\n".encode())
    if line.startswith("\ufeff"):
        (tmp_path / ".env").write_bytes(line.encode())
    assert load(tmp_path, {}).api_key == expected


def test_files_of_editors_that_mark_their_encoding_are_read(tmp_path: Path) -> None:
    (tmp_path / "servo.toml").write_bytes(b"\xef\xbb\xbftimeout = 3\r\nretries = 0\r\n")
    settings = load(tmp_path, {})
    assert (settings.timeout, settings.retries) == (3.0, 0)


@pytest.mark.parametrize("line", ["SERVO_API_KEY", "SERVO_API_KEY='hunter2"])
def test_a_broken_line_of_ours_is_named_and_not_shown(tmp_path: Path, line: str) -> None:
    root = _write(tmp_path, dotenv=f"A=1\n{line}\n")
    with pytest.raises(errors.ConfigurationError, match=r"line 2 of .*\.env") as caught:
        load(root, {})
    assert "hunter2" not in str(caught.value)


def test_a_slip_in_dotenv_is_refused(tmp_path: Path) -> None:
    root = _write(tmp_path, dotenv="SERVO_API_KEYS=hunter2\n")
    with pytest.raises(errors.ConfigurationError, match=r"SERVO_API_KEYS in \.env") as caught:
        load(root, {})
    assert "hunter2" not in str(caught.value)


def test_reading_dotenv_changes_no_environment_and_needs_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVO_TENANT_ID", "process")
    before = dict(os.environ)
    load(_write(tmp_path, dotenv="SERVO_TENANT_ID=file\nMY_PATH=1\n"), {})
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", ["pyproject.toml", "servo.toml", ".env"])
def test_a_file_that_is_no_text_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.ConfigurationError, match=rf"{name}.*UTF-8"):
        load(tmp_path, {})


@pytest.mark.parametrize("name", ["pyproject.toml", "servo.toml", ".env"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(errors.ConfigurationError, match=rf"{name}.*cannot be read"):
        load(tmp_path, {})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0.0), ("0.5", 0.5), ("30", 30.0), ("none", None), (" None ", None)],
)
def test_a_timeout_is_seconds_or_none(text: str, expected: float | None) -> None:
    assert load(None, {"SERVO_TIMEOUT": text}).timeout == expected


@pytest.mark.parametrize("text", ["-1", "nan", "inf", "soon"])
def test_a_timeout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(errors.ConfigurationError, match="SERVO_TIMEOUT"):
        load(None, {"SERVO_TIMEOUT": text})


@pytest.mark.parametrize(("written", "expected"), [("5", 5.0), ("'none'", None), ("0.25", 0.25)])
def test_a_timeout_in_a_file_may_be_whole(
    tmp_path: Path, written: str, expected: float | None
) -> None:
    assert load(_write(tmp_path, servo=f"timeout = {written}"), {}).timeout == expected


@pytest.mark.parametrize(("text", "expected"), [("DEBUG", "debug"), ("warning", "warning")])
def test_a_level_is_read_in_any_case(text: str, expected: str) -> None:
    assert load(None, {"SERVO_LOG_LEVEL": text}).log_level == expected


def test_a_level_that_does_not_exist_is_refused_with_the_one_that_was_meant() -> None:
    with pytest.raises(errors.ConfigurationError, match="did you mean 'debug'"):
        load(None, {"SERVO_LOG_LEVEL": "debg"})
    with pytest.raises(errors.ConfigurationError, match="one of text, json"):
        load(None, {"SERVO_LOG_FORMAT": "xml"})


def test_a_path_in_a_file_is_relative_to_the_file_and_one_in_a_variable_is_not(
    tmp_path: Path,
) -> None:
    root = _write(tmp_path, servo="tls.ca = 'a.pem'", dotenv="SERVO_TLS_CERT=b.pem\n")
    settings = load(root, {"SERVO_TLS_KEY": "c.pem", "SERVO_API_KEY_FILE": "/run/key"})
    assert settings.tls_ca == str(tmp_path / "a.pem")
    written = _write(tmp_path, servo="tls.key = 'd.pem'")
    assert load(written, {}).tls_key == str(tmp_path / "d.pem")
    assert settings.tls_cert == str(tmp_path / "b.pem")
    assert (settings.tls_key, settings.api_key_file) == ("c.pem", "/run/key")


SECRET = "hunter2"


@pytest.mark.parametrize(
    "place", ["pyproject", "servo", "profile of pyproject", "profile of servo"]
)
def test_a_key_in_a_committed_file_is_refused_even_where_it_is_beaten(
    tmp_path: Path, place: str
) -> None:
    table = "profiles.p" if "profile" in place else ""
    if "pyproject" in place:
        table = f"tool.servo.{table}".rstrip(".")
    text = f'api_key = "{SECRET}"\n'
    root = _write(tmp_path, **{place.rpartition(" ")[2]: f"[{table}]\n{text}" if table else text})
    with pytest.raises(errors.ConfigurationError, match="that file is committed") as caught:
        load(root, {"SERVO_API_KEY": "other"}, profile="p" if "profile" in place else None)
    assert SECRET not in str(caught.value)


def test_a_key_is_masked_wherever_it_comes_from(tmp_path: Path) -> None:
    root = _write(tmp_path, dotenv=f"SERVO_API_KEY={SECRET}1\n")
    settings = load(
        root, {"SERVO_API_KEY": f"{SECRET}2"}, {"api_key": f"{SECRET}3"}, flags={"api_key": SECRET}
    )
    assert settings.api_key == f"{SECRET}3"
    for text in (repr(settings), str(settings), repr(list(settings.describe()))):
        assert SECRET not in text
        assert settings.api_key not in text


def test_a_key_of_the_wrong_type_is_not_shown() -> None:
    with pytest.raises(errors.ConfigurationError, match="argument 'api_key'") as caught:
        load(None, {}, {"api_key": [SECRET]})
    assert SECRET not in str(caught.value)
    assert SECRET not in str(caught.value.to_dict())


def test_a_password_in_the_address_is_refused_and_not_shown() -> None:
    with pytest.raises(errors.ConfigurationError, match="SERVO_API_KEY") as caught:
        load(None, {"SERVO_API_URL": f"https://ada:{SECRET}@plane:443"})
    assert SECRET not in str(caught.value)


def test_a_password_in_an_address_that_was_beaten_is_masked(tmp_path: Path) -> None:
    root = _write(tmp_path, servo=f"api_url = 'https://ada:{SECRET}@plane:443'")
    settings = load(root, {"SERVO_API_URL": "https://plane:443"})
    assert SECRET not in repr(list(settings.describe()))


def test_the_file_of_a_higher_layer_wins_over_the_key_of_a_lower_one(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(" from-file\n")
    root = _write(tmp_path, dotenv=f"SERVO_API_KEY={SECRET}\n")
    settings = load(root, {"SERVO_API_KEY_FILE": str(tmp_path / "key")})
    assert settings.api_key == ""
    assert settings.read_api_key() == "from-file"
    (found,) = [one for one in settings.describe() if one.name == "api_key"]
    assert (found.source, found.value) == ("SERVO_API_KEY_FILE", "")


def test_the_key_of_a_higher_layer_wins_over_the_file_of_a_lower_one(tmp_path: Path) -> None:
    root = _write(tmp_path, servo="api_key_file = 'key'")
    settings = load(root, {"SERVO_API_KEY": "key"})
    assert (settings.read_api_key(), settings.api_key_file) == ("key", "")


def test_a_key_wins_over_a_file_and_without_either_there_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("from-file\n")
    path = str(tmp_path / "key")
    assert Settings(api_key="key", api_key_file=path).read_api_key() == "key"
    # The file is not even looked at.
    assert Settings(api_key="key", api_key_file=f"{path}-missing").read_api_key() == "key"
    assert Settings(api_key_file=path).read_api_key() == "from-file"
    assert Settings().read_api_key() == ""


def test_a_key_and_a_file_in_one_layer_are_refused() -> None:
    with pytest.raises(errors.ConfigurationError, match="both give a key; remove one") as caught:
        load(None, {"SERVO_API_KEY": SECRET, "SERVO_API_KEY_FILE": "/run/key"})
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "expected"), [(None, "cannot be read"), (b" \n", "empty"), (b"\xff", "UTF-8")]
)
def test_a_key_file_that_holds_no_key_is_named(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    path = tmp_path / "key"
    if content is not None:
        path.write_bytes(content)
    settings = load(None, {"SERVO_API_KEY_FILE": str(path)})
    with pytest.raises(errors.ConfigurationError, match=expected) as caught:
        settings.read_api_key()
    assert str(path) in str(caught.value)


def test_a_child_process_loads_the_same_profile(tmp_path: Path) -> None:
    root = _write(tmp_path, servo=PROFILES)
    settings = load(root, {}, profile="prod")
    child = load(root, settings.for_children())
    assert (child.profile, child) == ("prod", settings)


@pytest.mark.parametrize("one", setting_fields(), ids=lambda one: str(one.name))
def test_every_setting_has_a_variable_and_a_key_that_set_it(
    one: dataclasses.Field[Any], tmp_path: Path
) -> None:
    by_type = {bool: "1", int: "7", float: "7", tuple: "x", str: "x"}
    text = (*one.metadata["choices"], by_type[type(one.default)])[0]
    settings = load(None, {f"SERVO_{one.name.upper()}": text})
    assert settings.sources == {one.name: f"SERVO_{one.name.upper()}"}
    assert getattr(settings, one.name) != one.default or one.name == "log_format"
    if not one.metadata["secret"]:
        (found,) = [item for item in settings.describe() if item.name == one.name]
        written = {bool: "true", int: "7", float: "7", tuple: "['x']"}
        servo = f"{found.key} = {written.get(type(one.default), repr(text))}"
        assert load(_write(tmp_path, servo=servo), {}).sources == {one.name: "servo.toml"}
