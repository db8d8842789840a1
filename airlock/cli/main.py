"""The command line's entry: the list of commands, and what an error becomes for the shell."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from pathlib import Path

import click

from airlock import __version__
from airlock.cli.exits import Exit, exit_of
from airlock.cli.frame import Group, frame_of, meant
from airlock.cli.render import complain
from airlock.errors import AirlockError
from airlock.logs import log_to

COMMANDS = {
    "stdio": "airlock.cli.early:stdio",
    "hook": "airlock.cli.early:hook",
    "gateway": "airlock.cli.gateway:gateway",
    "pending": "airlock.cli.queue:pending",
    "show": "airlock.cli.queue:show",
    "approve": "airlock.cli.decide:approve",
    "deny": "airlock.cli.decide:deny",
    "undo": "airlock.cli.decide:undo",
    "pause": "airlock.cli.decide:pause",
    "resume": "airlock.cli.decide:resume",
    "watch": "airlock.cli.watch:watch",
    "grants": "airlock.cli.grants:grants",
    "keys": "airlock.cli.keys:keys",
    "audit": "airlock.cli.history:audit",
    "policy": "airlock.cli.policy:policy",
    "tools": "airlock.cli.tools:tools",
    "login": "airlock.cli.login:login",
    "logout": "airlock.cli.login:logout",
    "trust": "airlock.cli.trust:trust",
    "init": "airlock.cli.init:init",
    "doctor": "airlock.cli.doctor:doctor",
    "demo": "airlock.cli.demo:demo",
    "db": "airlock.cli.database:db",
    "pin": "airlock.cli.pin:pin",
    "version": "airlock.cli.version:version",
}
"""Every command and where it is. `stdio` and `hook` are served earlier; here is their help."""


@click.group(cls=Group, lazy=COMMANDS, example="airlock pending\nairlock approve K7QF2M")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    help="How much to log.",
)
@click.option("--log-file", type=click.Path(path_type=Path), metavar="FILE", help="Log there, not to stderr.")
@click.version_option(__version__, prog_name="airlock")
@click.pass_context
def cli(context: click.Context, log_level: str, log_file: Path | None) -> None:
    """Airlock decides every tool call of an agent by one policy: allow, ask a person, or deny."""
    frame = frame_of(context)
    frame.log_level, frame.log_file = log_level, log_file
    log_to(log_file, logging.getLevelNamesMapping()[log_level.upper()])


def run(argv: list[str]) -> int:
    """Run one command line and return its exit code; nothing is raised."""
    try:
        _hold_stdout()
        result = cli.main(args=argv, prog_name="airlock", standalone_mode=False)
        sys.stdout.flush()
    except click.exceptions.NoArgsIsHelpError as error:
        sys.stderr.write(error.format_message() + "\n")
        return Exit.USAGE
    except click.UsageError as error:
        complain(_usage(error))
        return Exit.USAGE
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.ClickException as error:
        complain(error.format_message())
        return Exit.USAGE
    except AirlockError as error:
        complain(str(error))
        return exit_of(error)
    except (BrokenPipeError, SystemExit):
        # click turns a closed pipe into an exit with 1; nothing else of ours raises SystemExit.
        _let_go_of_stdout()
        return Exit.PIPE_CLOSED
    except OSError as error:
        complain(f"cannot go on: {_failed(error)}")
        _let_go_of_stdout()
        return Exit.INTERNAL
    except Exception as error:
        # The program's outer edge: a person never sees a traceback.
        logging.getLogger("airlock").debug("internal failure", exc_info=True)
        complain(f"internal failure: {type(error).__name__}: {error}")
        return Exit.INTERNAL
    return result if isinstance(result, int) else Exit.DONE


def _usage(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx is not None else "airlock"
    return f"{_words(error)}: see `{path} --help`"


def _words(error: click.UsageError) -> str:
    """What click says, as we say it: the user's words in backticks, one guess at what was meant."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option `{error.option_name}`{meant(error.option_name, error.possibilities or ())}"
    text = re.sub(r"'([^']*)'", r"`\1`", error.format_message())
    text = text.replace(" is not a valid integer range", " is not a whole number")
    text = text.replace(" is not a valid integer", " is not a whole number")
    text = re.sub(r"(extra arguments?) \((.*)\)", r"\1 `\2`", text)
    return text[:1].lower() + text[1:].rstrip(".")


def _failed(error: OSError) -> str:
    words = (error.strerror or type(error).__name__).lower()
    return f"{words}: `{error.filename}`" if error.filename else words


def _hold_stdout() -> None:
    """Where stdout is closed, nothing that is opened later may take its place and be written to."""
    if sys.stdout is None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stdout = os.fdopen(1, "w", closefd=False)


def _let_go_of_stdout() -> None:
    """The reader of our output went away: nothing more is written, and Python does not complain at exit."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
