"""How a command line is read: click's classes with options in groups, and refusals of ours."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any

import click

from zigpt.errors import UsageError


class Choice(click.Choice[str]):
    """One of a few words."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the word itself.

        Raises:
            NoSuchChoice: it is not one of them.
        """
        if value not in self.choices:
            raise NoSuchChoice(value, self.choices, param, ctx)
        return str(value)


class NoSuchChoice(click.BadParameter):
    """A word that is not among those an option takes; `possibilities` are similar ones."""

    def __init__(
        self,
        value: str,
        choices: Iterable[str],
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> None:
        super().__init__(f"{value!r} is not one of {', '.join(choices)}", ctx, param)
        self.possibilities = get_close_matches(value, choices)


class _Parser(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click leaves it out where an option lacks its value
            raise


class Command(_Parser):
    """A command with its options in groups.

    It calls `zigpt.cli.<name>.run` with an argument for each parameter, and imports it only then:
    help and refusals do not wait for torch.
    """

    def __init__(
        self,
        name: str,
        help: str,
        arguments: Iterable[click.Argument],
        groups: Mapping[str, Iterable[click.Option]],
        epilog: str | None = None,
    ) -> None:
        self.groups = groups
        options = (option for group in groups.values() for option in group)
        callback = partial(_run, name)
        super().__init__(
            name, help=help, params=[*arguments, *options], callback=callback, epilog=epilog
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its title, and --help with the first."""
        more = [self.get_help_option(ctx)]
        for title, options in self.groups.items():
            records = [option.get_help_record(ctx) for option in [*options, *more] if option]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])
            more = []


class Group(_Parser, click.Group):
    """Commands that are listed as they were declared, not by the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name all commands."""
        return list(self.commands)


def _run(name: str, **values: Any) -> int:
    return int(import_module(f"zigpt.cli.{name}").run(**values))


def usage_error(error: click.UsageError) -> UsageError:
    """Say in three lines, from the fields of click's exception, what cannot be read."""
    ctx = error.ctx
    assert ctx
    path = ctx.command_path
    what = error.message[:1].lower() + error.message[1:].removesuffix(".")
    why = f"usage: {path} {' '.join(ctx.command.collect_usage_pieces(ctx))}"
    match error:
        case click.NoSuchOption():
            what = f"{path} has no option {error.option_name}"
        case click.NoSuchCommand() if isinstance(ctx.command, click.Group):
            what = f"{path} has no command {error.command_name!r}"
            why = f"its commands are {', '.join(ctx.command.commands)}"
        case click.BadOptionUsage():
            params = {name: param for param in ctx.command.get_params(ctx) for name in param.opts}
            why = _describe(params[error.option_name], ctx)
        case click.MissingParameter(param=click.Parameter() as param):
            what, why = f"{path} needs {param.make_metavar(ctx)}", _describe(param, ctx)
        case click.BadParameter(param=click.Parameter() as param):
            name = f"{param.opts[0]}: " if isinstance(param, click.Option) else ""
            what, why = name + what, _describe(param, ctx)
    near = getattr(error, "possibilities", None)
    meant = f"did you mean {near[0]}? " if near else ""
    return UsageError(what, why, f"{meant}see {path} --help")


def _describe(param: click.Parameter, ctx: click.Context) -> str:
    """Say how a parameter is given, and what it is."""
    words = [param.opts[0]] if isinstance(param, click.Option) else []
    if not getattr(param, "is_flag", False):
        words.append(param.make_metavar(ctx))
    return f"{' '.join(words)}: {param.help}"
