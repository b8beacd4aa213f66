"""``servo``: the group of commands, and the one place that turns errors into exit codes.

Exit codes: 0 done, 1 the run failed (or ``--check`` found a difference), 2 wrong usage or wrong
definitions, 69 to 78 by the category of the error (see ``servo.errors``), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NamedTuple

import click

from servo import errors
from servo._version import __version__
from servo.cli import _output, _process
from servo.cli._session import Session

EXIT_USAGE: Final = 2
EXIT_INTERNAL: Final = 70
EXIT_INTERRUPTED: Final = 130


class _Entry(NamedTuple):
    """A command: where it is, and the line that ``servo --help`` shows for it."""

    target: str
    summary: str


# A command's module is imported when the command is used, not when all of them are listed.
COMMANDS: Final = {
    "init": _Entry("servo.cli.init:init", "Make a new project."),
    "demo": _Entry("servo.cli.demo:demo", "Run the example project."),
    "validate": _Entry("servo.cli.validate:validate", "Check the project; writes nothing."),
    "deploy": _Entry("servo.cli.deploy:deploy", "Make the project the current deployment."),
    "run": _Entry("servo.cli.run:run", "Materialise assets."),
    "rerun": _Entry("servo.cli.rerun:rerun", "Repeat what did not succeed in a run."),
    "status": _Entry("servo.cli.status:status", "Show recent runs, or one run and its tasks."),
    "why": _Entry("servo.cli.why:why", "Say why a run, a task or an asset is not done."),
    "events": _Entry("servo.cli.events:events", "Show everything that has happened."),
    "logs": _Entry("servo.cli.logs:logs", "Show what the attempts of a run wrote."),
    "cancel": _Entry("servo.cli.cancel:cancel", "Stop a run."),
    "pause": _Entry("servo.cli.pause:pause", "Hold a run."),
    "resume": _Entry("servo.cli.pause:resume", "Let a run go on that is held."),
    "priority": _Entry("servo.cli.pause:priority", "Let a run go before others, or after them."),
    "pools": _Entry("servo.cli.pools:pools", "Bound how many tasks use something at once."),
    "asset": _Entry("servo.cli.asset:asset", "List, show and rename assets."),
    "dev": _Entry("servo.cli.dev:dev", "Serve the project, and reload it on change."),
    "worker": _Entry("servo.cli.worker:worker", "Execute tasks for a control plane."),
    "keys": _Entry("servo.cli.keys:keys", "Make, list and revoke API keys."),
    "db": _Entry("servo.cli.db:db", "Check, back up and prune the database."),
    "config": _Entry("servo.cli.config:config", "Show and check the configuration."),
    "completion": _Entry("servo.cli.completion:completion", "Print a shell's completion script."),
}


class _LazyGroup(_process.PipedGroup):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.target.partition(":")
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(
                f"No such command {args[0]!r}.{_output.did_you_mean(args[0], COMMANDS)}", ctx
            )
        return super().resolve_command(ctx, args)


@click.command(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "--version", "-V", prog_name="servo")
@click.option(
    "--project",
    "-C",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="SERVO_PROJECT",
    metavar="DIR",
    help="The project's directory (default: found from the current one upwards).",
)
@click.option(
    "--profile",
    envvar="SERVO_PROFILE",
    metavar="NAME",
    help="Use the settings of [profiles.NAME] in servo.toml (see `servo config show`).",
)
@click.pass_context
def cli(ctx: click.Context, project: Path | None, profile: str | None) -> None:
    """Data assets as Python functions: declared once, partitioned, checked, materialised.

    \b
    A project is a directory with @asset functions below assets/. Try:
      servo demo                       a year of flights, from CSV files to answers
      servo init shop && cd shop       a project of your own
      servo run '*' --all-partitions   materialise everything it declares
      servo status                     what ran, and how it went

    Commands that need a control plane use the configured server, else this project's running
    `servo dev`, else one that is started in the background and goes away with the work.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    ctx.obj = Session(root=project, profile=profile)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    _process.open_standard_streams()
    if "--json" in given:
        _process.keep_stdout()
    _process.watch_streams()
    _process.leave(invoke(given))


def invoke(arguments: list[str], command: click.Command = cli, name: str = "servo") -> int:
    """Run the command line.

    Args:
        arguments: What follows the program's name.
        command: The command to run.
        name: The program's name, for usage messages.

    Returns:
        The exit code. Errors are printed on standard error, for people; where ``--json`` was
        asked for, standard output gets the error as JSON, so that it always holds one document.
    """
    as_json = "--json" in arguments
    _output.reset()
    try:
        result: Any = command.main(
            arguments,
            prog_name=name,
            standalone_mode=False,
            # NO_COLOR (no-color.org) wins over what the terminal could do.
            color=False if os.environ.get("NO_COLOR") else None,
        )
    except click.exceptions.NoArgsIsHelpError as exc:
        exc.show()
        return EXIT_USAGE
    except click.ClickException as exc:
        exc.show()
        if as_json:
            _output.print_error_json(errors.InvalidArgumentError(exc.format_message()))
        return exc.exit_code
    except (click.Abort, KeyboardInterrupt) as exc:
        # click makes its own error of it; the notes say what was under way.
        notes = getattr(exc.__cause__ or exc, "__notes__", ())
        _output.note("\n".join(["Interrupted.", *notes]))
        return EXIT_INTERRUPTED
    except _process.StdoutError as exc:
        return _unwritable(exc)
    except errors.ServoError as exc:
        _output.print_error(exc)
        if as_json:
            _output.print_error_json(exc)
        return exc.exit_code
    # The last line of defence: whatever it is, people get a sentence and a way to see more.
    except Exception as exc:
        _output.print_unexpected(exc)
        if as_json:
            _output.print_error_json(errors.ServoError(f"{type(exc).__name__}: {exc}"))
        return EXIT_INTERNAL
    return result if isinstance(result, int) else 0


def _unwritable(problem: _process.StdoutError) -> int:
    _process.silence(sys.stdout)
    error = errors.FilesystemError(
        f"standard output cannot be written: {problem.strerror or problem}",
        hint="What was started goes on; `servo status` shows it.",
    )
    _output.print_error(error)
    return error.exit_code


if __name__ == "__main__":
    main()
