"""Every command and what it can be given. Loads in milliseconds: no torch here, and no NumPy."""

from pathlib import Path
from typing import Literal, get_args

import click

from zigpt import __version__
from zigpt.cli.options import argument, choice, option, preset_settings, preset_table, settings
from zigpt.cli.parser import Choice, Command, Group
from zigpt.gpt.config import GPTConfig, SampleConfig, TrainConfig
from zigpt.runs.request import Preset

BenchPart = Literal[
    "limits", "training", "writing", "text", "start", "saving", "growth", "record", "gpu"
]
UNKNOWN = ("error", "drop", "replace")  # as in zigpt.tokenizers, which loads NumPy

_TEXTS = argument(
    "texts",
    "[TEXT]...",
    "files, or a folder of them; none: input.txt, or else a default text",
    nargs=-1,
)
_PATH = argument("path", "RUN", "run folder, or a model.safetensors alone")
_DEVICE = option("--device", "auto, cpu, cuda, cuda:1 or mps", metavar="NAME", default="auto")
_JSON = option("--json as_json", "print one JSON object instead", is_flag=True)
_UNKNOWN = choice("--unknown", "what to do with unseen characters", UNKNOWN)
_PRESET = choice(
    "--preset", "a tested set of defaults; auto: by text, device and time", get_args(Preset)
)
_MINUTES = option("--minutes", "fit the number of steps to this time", type=float)
_SETTINGS = {"Model": [*preset_settings(GPTConfig)], "Training": [*preset_settings(TrainConfig)]}


def _folder(help: str) -> click.Option:
    return option("--run folder", help, type=Path, metavar="DIR")


_TRAIN = Command(
    "train",
    "Train a model on a text and watch it learn.",
    [_TEXTS],
    {
        "Text and run": [
            _PRESET,
            _folder("run folder; none: runs/<text>-<preset>"),
            _MINUTES,
            _DEVICE,
            option("--resume", "resume the run given by --run, or the newest", is_flag=True),
        ],
        **_SETTINGS,
    },
    epilog=preset_table(),
)
_SAMPLE = Command(
    "sample",
    "Let a model write. The text alone goes to stdout.",
    [_PATH],
    {
        "Text": [
            option(
                "--prompt", "what to continue; none: a new line", default="", show_default=False
            ),
            option("--chars", "characters to write", default=500),
            option("--count", "how many continuations; the i-th uses seed + i", default=1),
            option("--stop", "end before this text; may be given several times", multiple=True),
            _UNKNOWN,
            option(
                "--device",
                "auto: 8-bit weights on the CPU; cpu, cuda, mps: float32, by torch",
                metavar="NAME",
                default="auto",
            ),
        ],
        "Sampling": settings(SampleConfig),
    },
)
_EVAL = Command(
    "eval",
    "Measure the exact loss over a whole split, or over another text.",
    [
        _PATH,
        argument(
            "text",
            "[TEXT]",
            "another text, scored whole; none: the validation split of the model's own text",
            required=False,
        ),
    ],
    {"Options": [_UNKNOWN, _DEVICE, _JSON]},
)
_VERIFY = Command(
    "verify",
    "Check a run: files, vocabulary, causality, sampling, resuming.",
    [_PATH],
    {"Options": [_DEVICE, _JSON]},
)
_PLAN = Command(
    "plan",
    "Describe a text and estimate what training on it costs.",
    [_TEXTS],
    {"Options": [_PRESET, _MINUTES, _DEVICE, _JSON], **_SETTINGS},
    epilog=preset_table(),
)
_EXPLAIN = Command(
    "explain",
    "Show how a GPT works, on your own text and model.",
    [
        argument(
            "topic",
            "TOPIC",
            "model: architecture and parameters; window: one window as T training examples; "
            "mask: which positions see which; batch: predictions in one step; "
            "characters: compared with subwords",
            type=Choice(["model", "window", "mask", "batch", "characters"]),
        ),
        argument(
            "path",
            "[RUN]",
            "run folder or model.safetensors; none: the newest in runs/",
            required=False,
        ),
    ],
    {
        "Options": [
            option(
                "--text",
                "the text to show; none: the start of the validation split",
                default="",
                show_default=False,
            ),
            _DEVICE,
        ]
    },
)
_BENCH = Command(
    "bench",
    "Measure this machine against a plain textbook and its own limits.",
    [
        argument(
            "parts",
            "[PART]...",
            f"{', '.join(get_args(BenchPart))}; none: all but record and gpu, in 10 minutes",
            type=Choice(get_args(BenchPart)),
            nargs=-1,
        )
    ],
    {
        "Options": [
            option(
                "--rounds", "repetitions of each contender: 3; seeds of record and gpu: 5", type=int
            ),
            option(
                "--minutes",
                "time of each training run of record; may be given several times",
                type=float,
                multiple=True,
                default=(1.0, 3.0, 15.0, 60.0),
            ),
            _folder("folder for bench.json and growth.png; none: runs/bench"),
            _DEVICE,
            _JSON,
        ]
    },
)
_WEB = Command(
    "web",
    "Watch a model learn, write with it, look inside: in the browser.",
    [
        argument(
            "shown",
            "[RUN | TEXT]",
            "run folder or model.safetensors; or a text to learn; none: the newest run",
            required=False,
        )
    ],
    {
        "Options": [
            option("--port", "0: any that is free", default=8765),
            option("--host", "the address to listen on", metavar="ADDRESS", default="127.0.0.1"),
            option("--allow-remote", "let --host be reached from other machines", is_flag=True),
            option("--no-browser", "only print the address", is_flag=True),
            _DEVICE,
        ]
    },
)
zigpt = click.version_option(__version__, prog_name="zigpt")(
    Group(
        "zigpt",
        help="A character-level GPT: train it, let it write, look inside.",
        epilog="zigpt COMMAND --help explains the options of a command.",
        commands=[_TRAIN, _SAMPLE, _EVAL, _VERIFY, _PLAN, _EXPLAIN, _BENCH, _WEB],
        context_settings={
            "help_option_names": ["-h", "--help"],
            "max_content_width": 100,
            "token_normalize_func": lambda name: name.replace("_", "-"),
        },
    )
)
