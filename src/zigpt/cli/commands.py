"""Every command and what it can be given. Loads in milliseconds: no torch here, and no NumPy."""

from pathlib import Path
from typing import Literal, get_args

import click

from zigpt import __version__
from zigpt.cli.options import argument, choice, option, preset_settings, preset_table, settings
from zigpt.cli.parser import Choice, Command, Group, lang_option
from zigpt.data.encodings import Damaged
from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
from zigpt.language import tr
from zigpt.runs.request import Preset

BenchPart = Literal[
    "limits", "training", "writing", "text", "start", "saving", "growth", "record", "gpu"
]
UNKNOWN = ("error", "drop", "replace")  # as in zigpt.tokenizers, which loads NumPy


def command_line() -> Group:
    """Declare all commands, in the language that is spoken now."""
    group = Group(
        "zigpt",
        params=[lang_option()],
        invoke_without_command=True,
        callback=_tour,
        help=tr("A character-level GPT: train it, let it write, look inside."),
        epilog=tr("zigpt COMMAND --help explains the options of a command."),
        commands=[
            _train(),
            _sample(),
            _eval(),
            _verify(),
            _plan(),
            _explain(),
            _bench(),
            _web(),
        ],
        context_settings={
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
            "token_normalize_func": lambda name: name.replace("_", "-"),
        },
    )
    return click.version_option(__version__, prog_name="zigpt")(group)


@click.pass_context
def _tour(context: click.Context) -> int:
    """Show the tour where no command is given."""
    if context.invoked_subcommand:
        return 0
    from zigpt.cli.tour import show_tour

    return show_tour()


def _train() -> Command:
    run = _folder(tr("run folder; none: runs/<text>-<preset>"))
    resume = tr("resume the run given by --run, or the newest")
    options = [_preset(), run, _minutes(), _device(), option("--resume", resume, is_flag=True)]
    together = tr("processes that share each step, started by torchrun's engine")
    processes = option("--processes", together, default=1, type=click.IntRange(1, 1024))
    options += [processes, *_decoding(), *_documents()]
    return Command(
        "train",
        tr("Train a model on a text and watch it learn."),
        [_texts()],
        {tr("Text and run"): options, **_settings()},
        epilog=preset_table(),
    )


def _sample() -> Command:
    file = tr("continue this file, less a line break at its end; -: standard input")
    end = tr("end where a document ends, as those that were learned do")
    text = [
        option("--prompt", tr("what to continue (- is a dash); none: a new line"), type=str),
        option("--prompt-file", file, type=Path, metavar="PATH"),
        option("--interactive", tr("ask for prompt after prompt, at a terminal"), is_flag=True),
        option("--chars", tr("characters to write"), default=500),
        option("--count", tr("how many continuations; the i-th uses seed + i"), default=1),
        option(
            "--stop",
            tr("end before this text; for several, repeat it: --stop A --stop B"),
            multiple=True,
        ),
        option("--until-end", end, is_flag=True),
        _unknown(),
        option(
            "--device",
            tr("auto: 8-bit weights on the CPU; cpu, cuda, mps: float32, by torch"),
            metavar="NAME",
            default="auto",
        ),
    ]
    return Command(
        "sample",
        tr("Let a model write. The text alone goes to stdout."),
        [_path()],
        {tr("Text"): text, tr("Sampling"): settings(SampleConfig)},
    )


def _eval() -> Command:
    other = argument(
        "text",
        "[TEXT]",
        tr("another text, scored whole; none: the validation split of the model's own text"),
        required=False,
    )
    return Command(
        "eval",
        tr("Measure the exact loss over a whole split, or over another text."),
        [_path(), other],
        {tr("Options"): [_unknown(), *_decoding(), _device(), _json()]},
    )


def _verify() -> Command:
    return Command(
        "verify",
        tr("Check a run: files, vocabulary, causality, sampling, resuming."),
        [_path()],
        {tr("Options"): [_device(), _json()]},
    )


def _plan() -> Command:
    return Command(
        "plan",
        tr("Describe a text and estimate what training on it costs."),
        [_texts()],
        {
            tr("Options"): [_preset(), _minutes(), _device(), *_decoding(), *_documents(), _json()],
            **_settings(),
        },
        epilog=preset_table(),
    )


def _explain() -> Command:
    topic = argument(
        "topic",
        "TOPIC",
        tr(
            "model: architecture and parameters; window: one window as T training examples; "
            "mask: which positions see which; batch: predictions in one step; "
            "characters: compared with subwords"
        ),
        type=Choice(["model", "window", "mask", "batch", "characters"]),
    )
    path = argument(
        "path",
        "[RUN]",
        tr("run folder or model.safetensors; none: the newest in runs/"),
        required=False,
    )
    text = option(
        "--text",
        tr("the text to show; none: the start of the validation split"),
        default="",
        show_default=False,
    )
    return Command(
        "explain",
        tr("Show how a GPT works, on your own text and model."),
        [topic, path],
        {tr("Options"): [text, _device()]},
    )


def _bench() -> Command:
    parts = argument(
        "parts",
        "[PART]...",
        tr(
            "{parts}; none: all but record and gpu, in 10 minutes",
            parts=", ".join(get_args(BenchPart)),
        ),
        type=Choice(get_args(BenchPart)),
        nargs=-1,
    )
    minutes = option(
        "--minutes",
        tr("time of each training run of record; may be given several times"),
        type=float,
        multiple=True,
        default=(1.0, 3.0, 15.0, 60.0),
    )
    rounds = tr("repetitions of each contender: 3; seeds of record and gpu: 5")
    folder = _folder(tr("folder for bench.json and growth.png; none: runs/bench"))
    return Command(
        "bench",
        tr("Measure this machine against a plain textbook and its own limits."),
        [parts],
        {
            tr("Options"): [
                option("--rounds", rounds, type=int),
                minutes,
                folder,
                _device(),
                _json(),
            ]
        },
    )


def _web() -> Command:
    shown = argument(
        "shown",
        "[RUN | TEXT]",
        tr("run folder or model.safetensors; or a text to learn; none: the newest run"),
        required=False,
    )
    host = tr("the address to listen on")
    remote = tr("answer under any name: other machines with --host, or behind a proxy")
    return Command(
        "web",
        tr("Watch a model learn, write with it, look inside: in the browser."),
        [shown],
        {
            tr("Options"): [
                option(
                    "--port", tr("0: any that is free"), type=click.IntRange(0, 65535), default=8765
                ),
                option("--host", host, metavar="ADDRESS", default="127.0.0.1"),
                option("--allow-remote", remote, is_flag=True),
                option("--no-browser", tr("only print the address"), is_flag=True),
                _device(),
            ]
        },
    )


def _settings() -> dict[str, list[click.Option]]:
    return {
        tr("Model"): [*preset_settings(GPTConfig)],
        tr("Training"): [*preset_settings(TrainConfig)],
    }


def _texts() -> click.Argument:
    help = tr("files, or a folder; -: standard input; none: input.txt, or else a default text")
    return argument("texts", "[TEXT]...", help, nargs=-1)


def _path() -> click.Argument:
    return argument("path", "RUN", tr("run folder, or a model.safetensors alone"))


def _preset() -> click.Option:
    help = tr("a tested set of defaults; auto: by text, device and time")
    return choice("--preset", help, get_args(Preset))


def _minutes() -> click.Option:
    return option("--minutes", tr("fit the number of steps to this time"), type=float)


def _device() -> click.Option:
    help = tr("auto, cpu, cuda, cuda:1 or mps")
    return option("--device", help, metavar="NAME", default="auto")


def _unknown() -> click.Option:
    return choice("--unknown", tr("what to do with unseen characters"), UNKNOWN)


def _decoding() -> list[click.Option]:
    help = tr("encoding of the texts, such as cp1250; none: recognised")
    damaged = tr("what to do with bytes that do not fit the encoding")
    return [
        option("--encoding", help, metavar="NAME"),
        choice("--damaged", damaged, get_args(Damaged)),
    ]


def _documents() -> list[click.Option]:
    validation = tr(
        "what measures the training: last (tenth), spread (a tenth from everywhere), or a file or "
        "folder; auto: spread over several documents"
    )
    separator = tr("what ends a document within a file, such as \\n---\\n")
    shuffle = tr("learn the documents in an order that the seed decides")
    return [
        option("--validation", validation, metavar="WORD|PATH", default="auto"),
        option("--separator", separator, metavar="TEXT"),
        option("--shuffle-documents", shuffle, is_flag=True),
    ]


def _json() -> click.Option:
    return option("--json as_json", tr("print one JSON object instead"), is_flag=True)


def _folder(help: str) -> click.Option:
    return option("--run folder", help, type=Path, metavar="DIR")
