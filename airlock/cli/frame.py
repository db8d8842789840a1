"""What every command shares: `--config` and `--json` before or after it, and an example in its help."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from airlock.values import dataclass

T = TypeVar("T")

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(slots=True, kw_only=True)
class Frame:
    """What was asked for on the command line, whatever the command."""

    config: Path | None = None
    json: bool = False
    log_level: str = "warning"
    log_file: Path | None = None


def frame_of(context: click.Context) -> Frame:
    """The frame of this run."""
    return context.ensure_object(Frame)


def here() -> Frame:
    """The frame of the command that runs now."""
    return frame_of(click.get_current_context())


def _remember(context: click.Context, option: click.Parameter, value: Any) -> None:
    if value not in (None, False) and option.name:
        setattr(frame_of(context), option.name, value)


def common_options() -> list[click.Parameter]:
    """The options that work before and after every command."""
    return [
        click.Option(
            ["--config", "-c"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            expose_value=False,
            callback=_remember,
            help="The config to use.",
        ),
        click.Option(
            ["--json"],
            is_flag=True,
            expose_value=False,
            callback=_remember,
            help="One JSON document on stdout.",
        ),
    ]


class Command(click.Command):
    """A command with the common options and an example."""

    def __init__(self, *args: Any, example: str = "", tells: bool = True, **attributes: Any) -> None:
        attributes.setdefault("context_settings", HELP)
        super().__init__(*args, **attributes)
        self.example = example
        # What `stdio` and `hook` write is a protocol's: they have no other form of it.
        self.params += [one for one in common_options() if tells or one.name != "json"]

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - wrapped by the list, never cut
        """The first sentence of the help."""
        return first_sentence(self.help)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, at the end of the help."""
        write_example(self.example, formatter)
        super().format_epilog(ctx, formatter)


def first_sentence(text: str | None) -> str:
    """What a list of commands says of one."""
    return " ".join((text or "").split("\n\n")[0].split()).partition(". ")[0].rstrip(".")


def write_example(example: str, formatter: click.HelpFormatter) -> None:
    """One line of the help for each line of the example."""
    if example:
        with formatter.section("Example"):
            for line in example.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group whose commands are imported when they are used; `default` runs when none is named."""

    command_class = Command

    def __init__(
        self,
        *args: Any,
        example: str = "",
        default: str = "",
        lazy: dict[str, str] | None = None,
        **attributes: Any,
    ) -> None:
        attributes.setdefault("context_settings", HELP)
        super().__init__(*args, **attributes)
        self.example = example
        self.default = default
        self.lazy = lazy or {}
        self.params += common_options()

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - wrapped by the list, never cut
        """The first sentence of the help."""
        return first_sentence(self.help)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order in which they were written down."""
        return [*self.lazy, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, imported at this moment."""
        place = self.lazy.get(cmd_name)
        if place is None:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command of the first word; UsageError with a guess when there is none of that name."""
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            ctx.fail(f"no such command `{name}`{meant(name, self.list_commands(ctx))}")
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command in front when the arguments name none."""
        if self.default and not self._names_one(list(args)):
            args = [self.default, *args]
        return super().parse_args(ctx, args)

    def _names_one(self, args: list[str]) -> bool:
        while args:
            first = args.pop(0)
            if first in {"--config", "-c"} and args:
                args.pop(0)
            elif first != "--json" and not first.startswith("--config="):
                return first in {"-h", "--help"} or not first.startswith("-")
        return False

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example, at the end of the help."""
        write_example(self.example, formatter)
        super().format_epilog(ctx, formatter)


def meant(word: str, known: Iterable[str]) -> str:
    """A guess at what was meant, to be put behind a word that is not known; "" without one."""
    near = get_close_matches(word, list(known), n=1)
    return f" (did you mean `{near[0]}`?)" if near else ""


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """Run the asynchronous part of a command to its end."""
    return asyncio.run(work)
