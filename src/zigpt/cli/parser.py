"""How a command line is read: click's classes with options in groups, and refusals of ours."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any, get_args

import click

from zigpt.cli.layout import folded
from zigpt.errors import UsageError
from zigpt.language import Language, joined, mark, tr
from zigpt.machine import ONNXRUNTIME, TORCH, require_library

_AS_IT_IS = "\b"  # tells click to leave the lines of this paragraph


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
        words = ", ".join(choices)
        super().__init__(
            tr("{value!r} is not one of {words}", value=value, words=words), ctx, param
        )
        self.possibilities = get_close_matches(value, choices)


def lang_option() -> click.Option:
    """Declare --lang, which has been read by now: this help is in the language that it names."""
    help = tr("English or Chinese; none: as ZIGPT_LANG or the locale say")
    return click.Option(["--lang"], type=Choice(get_args(Language)), expose_value=False, help=help)


class _HelpFormatter(click.HelpFormatter):
    """click's, for a terminal where a Chinese character takes two cells."""

    def write_heading(self, heading: str) -> None:
        self.write(" " * self.current_indent + tr("{heading}:", heading=heading) + "\n")

    def write_text(self, text: str) -> None:
        is_laid_out = text.startswith(_AS_IT_IS)
        super().write_text(text if is_laid_out else self._folded(text, self.width))

    def write_dl(
        self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2
    ) -> None:
        rows = list(rows)
        terms = min(max(len(term) for term, _ in rows), col_max)
        room = self.width - self.current_indent - terms - col_spacing
        folded_rows = [(term, self._folded(help, room)) for term, help in rows]
        super().write_dl(folded_rows, col_max, col_spacing)

    def _folded(self, text: str, width: int) -> str:
        return "\n".join([_AS_IT_IS, *folded(text, width)])


class _Context(click.Context):
    formatter_class = _HelpFormatter


class _Parser(click.Command):
    context_class = _Context

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
        self._lang = lang_option()
        options = (option for group in groups.values() for option in group)
        params = [*arguments, *options, self._lang]
        super().__init__(
            name, help=help, params=params, callback=partial(_run, name), epilog=epilog
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each group of options under its title; --lang and --help with the first."""
        more = [self._lang, self.get_help_option(ctx)]
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
    is_quick = name == "sample" and values["device"] == "auto"
    require_library(ONNXRUNTIME if is_quick else TORCH)
    return int(import_module(f"zigpt.cli.{name}").run(**values))


# click's own sentences, so far as they are seen here.
_CLICKS = (
    mark("Usage:"),
    mark("Options"),
    mark("Commands"),
    mark("Positional arguments"),
    mark("Show this message and exit."),
    mark("Show the version and exit."),
    mark("default: {default}"),
    mark("{value!r} is not a valid {number_type}."),
    mark("{value} is not in the range {range}."),
    mark("Option {name!r} requires an argument.", "Option {name!r} requires {nargs} arguments."),
    mark("Option {name!r} does not take a value."),
    mark("Got unexpected extra argument ({args})", "Got unexpected extra arguments ({args})"),
)


def usage_error(error: click.UsageError) -> UsageError:
    """Say in three lines, from the fields of click's exception, what cannot be read."""
    ctx = error.ctx
    assert ctx
    path = ctx.command_path
    what = error.message[:1].lower() + error.message[1:].removesuffix(".").removesuffix("。")
    see = tr("see {command} --help", command=path)
    near = getattr(error, "possibilities", None)
    fix = joined(tr("did you mean {word}?", word=near[0]), see) if near else see
    usage = f"{path} {' '.join(ctx.command.collect_usage_pieces(ctx))}"
    why = tr("usage: {usage}", usage=usage)
    match error:
        case click.NoSuchOption():
            what = tr("{command} has no option {option}", command=path, option=error.option_name)
        case click.NoSuchCommand() if isinstance(ctx.command, click.Group):
            what = tr("{command} has no command {name!r}", command=path, name=error.command_name)
            why = tr("its commands are {names}", names=", ".join(ctx.command.commands))
        case click.BadOptionUsage():
            params = {name: param for param in ctx.command.get_params(ctx) for name in param.opts}
            param = params[error.option_name]
            why = _describe(param, ctx)
            if not getattr(param, "is_flag", False):
                given = {"option": param.opts[0], "value": param.make_metavar(ctx)}
                hint = tr("write {option}={value}, also where {value} begins with a dash", **given)
                fix = f"{hint}; {see}"
        case click.MissingParameter(param=click.Parameter() as param):
            needed = param.make_metavar(ctx)
            what = tr("{command} needs {argument}", command=path, argument=needed)
            why = _describe(param, ctx)
        case click.BadParameter(param=click.Parameter() as param):
            name = f"{param.opts[0]}: " if isinstance(param, click.Option) else ""
            what, why = name + what, _describe(param, ctx)
        case _ if isinstance(ctx.command, Command):  # there are more words than arguments
            fix = f"{_about_words(ctx.command)}; {see}"
    return UsageError(what, why, fix)


def _about_words(command: click.Command) -> str:
    """Say how several words are given where an option takes one and nothing takes the others."""
    for param in command.params:
        if getattr(param, "multiple", False):
            return tr(
                "put words that belong together in quotes; several texts are {option} A {option} B",
                option=param.opts[0],
            )
    return tr("put words that belong together in quotes")


def _describe(param: click.Parameter, ctx: click.Context) -> str:
    """Say how a parameter is given, and what it is."""
    words = [param.opts[0]] if isinstance(param, click.Option) else []
    if not getattr(param, "is_flag", False):
        words.append(param.make_metavar(ctx))
    return f"{' '.join(words)}: {param.help}"
