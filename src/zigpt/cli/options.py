"""How options are declared, those of the config dataclasses among them."""

from collections.abc import Iterator, Mapping
from dataclasses import Field, asdict, fields
from pathlib import Path
from typing import Any, get_args

import click

from zigpt.cli import spelling
from zigpt.cli.parser import Choice
from zigpt.data.arrangement import Arrangement
from zigpt.data.encodings import Decoding
from zigpt.gpt.config import PRESETS, GPTConfig, configure
from zigpt.language import tr


def argument(name: str, metavar: str, help: str, **more: Any) -> click.Argument:
    """Declare a positional argument, by default a path."""
    return click.Argument([name], metavar=metavar, help=help, **{"type": Path, **more})


def option(spelled: str, help: str, **more: Any) -> click.Option:
    """Declare an option: "--name", or "--name parameter" where the two differ."""
    return click.Option(spelled.split(), help=help, **{"show_default": True, **more})


def choice(spelled: str, help: str, words: tuple[str, ...]) -> click.Option:
    """Declare an option that takes one of a few words, by default the first."""
    return option(spelled, help, type=Choice(words), default=words[0])


def settings(config: type) -> list[click.Option]:
    """Make an option of every field."""
    return [_setting(part, "", default=part.default) for part in fields(config)]


def preset_settings(config: type) -> Iterator[click.Option]:
    """Make an option of every field; one that is left out is None: the preset decides."""
    values = _preset_values()
    for part in fields(config):
        if part.name in values:
            shared = set(values[part.name])
            default = tr("  [default: {value}]", value=shared.pop()) if len(shared) == 1 else ""
            yield _setting(part, default)


def given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the settings that were not left out."""
    return {name: value for name, value in settings.items() if value is not None}


def take_decoding(settings: dict[str, Any]) -> Decoding:
    """Take the options about the bytes of texts out of those that were given."""
    return Decoding(settings.pop("encoding"), settings.pop("damaged"))


def take_arrangement(settings: dict[str, Any]) -> Arrangement:
    """Take the options about documents, which `seed` may shuffle, out of those that were given."""
    validation, separator = settings.pop("validation"), settings.pop("separator")
    if separator is not None:  # few shells have a way to type these
        separator = separator.replace("\\n", "\n").replace("\\t", "\t")
    is_shuffled = settings.pop("shuffle_documents")
    return Arrangement.of(validation, separator, is_shuffled=is_shuffled, seed=settings["seed"])


def preset_table() -> str:
    """Show the settings in which presets differ, one line each."""
    rows = [(name, row) for name, row in _preset_values().items() if len(set(row)) > 1]
    lines = [f"{'':<22}" + "".join(f"{preset:>10}" for preset in PRESETS)]
    for name, row in rows:
        shown = (f"{value:g}" if isinstance(value, float) else str(value) for value in row)
        lines.append(f"{spelling.option(name):<22}" + "".join(f"{value:>10}" for value in shown))
    # The first line tells click to leave the others as they are.
    return "\n".join(["\b", tr("What is left out is as in the preset:"), *lines])


def _setting(part: Field[Any], more: str, default: Any = None) -> click.Option:
    choices, help = get_args(part.type), tr(part.metadata["help"]) + more
    kind = Choice(choices) if choices else part.type
    return option(spelling.option(part.name), help, type=kind, default=default)


def _preset_values() -> dict[str, list[Any]]:
    """List the values of each setting of a training run, one for each preset."""
    columns = []
    for preset in PRESETS:
        model, training = configure(GPTConfig.vocab_size, preset, {})
        columns.append({**asdict(model), **asdict(training)})
    names = [name for name in columns[0] if name != "vocab_size"]  # the text decides
    return {name: [column[name] for column in columns] for name in names}
