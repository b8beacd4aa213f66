from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import servo
from servo import errors
from servo.cli import _process, main


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {name} " in shown for name in main.COMMANDS)


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_can_be_loaded_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.invoke([name, "--help"]) == 0
    assert f"Usage: servo {name}" in capsys.readouterr().out


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from servo.cli.main import invoke; invoke(['--help']); "
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    # Measuring coverage loads modules of its own.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"PYTHONPATH": str(Path(servo.__file__).parents[1])},
    )
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert loaded.isdisjoint({"grpc", "google", "rich", "pyarrow", "sqlite3", "asyncio"})


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke(["--version"]) == 0
    assert capsys.readouterr().out == f"servo, version {servo.__version__}\n"


def test_no_command_shows_help_and_is_wrong_usage() -> None:
    assert main.invoke([]) == 2


def test_an_unknown_command_suggests_the_close_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke(["rnu"]) == 2
    assert "No such command 'rnu'. Did you mean 'run'?" in capsys.readouterr().err


def test_an_unknown_option_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke(["run", "--nope"]) == 2
    assert "--nope" in capsys.readouterr().err


def failing(error: BaseException) -> click.Command:
    @click.command()
    @click.option("--json", is_flag=True)
    def command(json: bool) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.NotFoundError("x"), 2),
        (errors.UnavailableError("x"), 69),
        (errors.FilesystemError("x"), 74),
        (errors.DeadlineError("x"), 75),
        (errors.PermissionDeniedError("x"), 77),
        (errors.ConfigurationError("x"), 78),
        (errors.ServoError("x"), 70),
        (RuntimeError("x"), 70),
        (KeyboardInterrupt(), 130),
    ],
)
def test_the_exit_code_follows_the_error(error: BaseException, code: int) -> None:
    assert main.invoke([], failing(error)) == code


def test_errors_go_to_standard_error_only(capsys: pytest.CaptureFixture[str]) -> None:
    main.invoke([], failing(errors.NotFoundError("there is no run")))
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "Error: there is no run\n"


@pytest.mark.parametrize("error", [errors.NotFoundError("gone"), RuntimeError("gone")])
def test_with_json_standard_output_holds_one_document(
    error: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    main.invoke(["--json"], failing(error))
    printed = capsys.readouterr()
    assert "gone" in json.loads(printed.out)["message"]
    assert "gone" in printed.err


def test_wrong_usage_with_json_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke(["--json", "--nope"], failing(ValueError())) == 2
    assert json.loads(capsys.readouterr().out)["code"] == "INVALID_ARGUMENT"


def test_a_traceback_is_shown_on_request_only(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SERVO_DEBUG", raising=False)
    main.invoke([], failing(RuntimeError("x")))
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert printed.out == ""
    monkeypatch.setenv("SERVO_DEBUG", "1")
    main.invoke([], failing(RuntimeError("x")))
    assert "Traceback" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "from servo.cli.main import main; main(['completion', 'bash'])"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(servo.__file__).parents[1])},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        problems = process.stderr.read()
        process.wait(timeout=30)
    assert problems == b""
    assert process.returncode == _process.EXIT_BROKEN_PIPE


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.invoke(["completion", shell]) == 0
    assert "_SERVO_COMPLETE" in capsys.readouterr().out


def test_every_option_says_what_it_is_for() -> None:
    silent = []
    for name, entry in main.COMMANDS.items():
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        commands = command.commands.values() if isinstance(command, click.Group) else [command]
        for item in commands:
            silent += [
                f"{name} {option.name}"
                for option in item.params
                if isinstance(option, click.Option) and not option.help
            ]
    assert silent == []
