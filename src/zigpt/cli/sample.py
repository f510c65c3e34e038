"""`zigpt sample`: the model writes; the text alone goes to stdout, everything else to stderr."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from zigpt.cli.interactive import continue_each, require_terminal
from zigpt.cli.layout import labelled
from zigpt.cli.terminal import harmless, write_out
from zigpt.data.arrangement import END
from zigpt.data.decode import decode, with_lf
from zigpt.data.files import open_text, printable, refuse
from zigpt.errors import UsageError, VocabularyError
from zigpt.formats.safetensors import read_lazily
from zigpt.generate.loop import Decoder, default_prompt, generate, stop_before
from zigpt.gpt.config import SampleConfig
from zigpt.language import tr
from zigpt.tokenizers.base import Tokenizer, Unknown

_MOST_CHARS, _MOST_TEXTS = 10**9, 10**4  # no machine at hand has the memory for more


@dataclass(frozen=True, kw_only=True)
class SampleRequest:
    """What to continue, and how far; the rest is a SampleConfig.

    Raises:
        UsageError: a part of it is impossible, or contradicts another.
    """

    prompt: str | None = None
    prompt_file: Path | None = None
    interactive: bool = False
    chars: int = 500
    count: int = 1
    stop: Sequence[str] = ()
    until_end: bool = False
    unknown: Unknown = "error"

    def __post_init__(self) -> None:
        sources = {
            "--prompt": self.prompt is not None,
            "--prompt-file": self.prompt_file is not None,
            "--interactive": self.interactive,
        }
        given = [option for option, is_given in sources.items() if is_given]
        if len(given) > 1:
            raise UsageError(
                tr("{options} cannot be combined", options=tr(" and ").join(given)),
                tr("each of them decides what is continued"),
                tr("keep one of them"),
            )
        if "" in self.stop:
            raise UsageError(
                tr("--stop cannot be empty"),
                tr("every text has an empty one in it, at its very beginning"),
                tr("leave --stop out, or name the text to end before"),
            )
        if not (0 <= self.chars <= _MOST_CHARS and 1 <= self.count <= _MOST_TEXTS):
            raise UsageError(
                tr("cannot write {count} texts of {chars} characters", **vars(self)),
                tr(
                    "--count goes from 1 to {texts:,} and --chars from 0 to {chars:,}",
                    texts=_MOST_TEXTS,
                    chars=_MOST_CHARS,
                ),
                tr("try --count 1 --chars 500"),
            )


def run(path: Path, device: str = "auto", **options: Any) -> int:
    """Continue the prompt, or one after another. Returns the exit code.

    `options` are the fields of SampleRequest and SampleConfig.

    Raises:
        UsageError: a value is impossible, or there is no terminal to ask at.
        TextError: the file of the prompt cannot be read as text.
        VocabularyError: the model has never seen a character of the prompt or of a stop.
    """
    names = {setting.name for setting in fields(SampleConfig)} & options.keys()
    config = SampleConfig(**{name: options.pop(name) for name in names})
    request = SampleRequest(**options)
    if request.interactive:
        require_terminal()
    writer = Writer(*_load(path, device, request.count), request, config)
    if request.interactive:
        continue_each(writer.write)
    else:
        file = request.prompt_file
        writer.write(request.prompt or "" if file is None else _read_prompt(file))
    return 0


class Writer:
    """A model that continues one prompt after another as the request says.

    Raises:
        VocabularyError: a stop can never be reached.
    """

    def __init__(
        self, decoder: Decoder, tokenizer: Tokenizer, request: SampleRequest, config: SampleConfig
    ) -> None:
        self._decoder, self._tokenizer = decoder, tokenizer
        self._request, self._config = request, config
        _require_possible(request.stop, tokenizer)
        self._stops, self._start = request.stop, default_prompt(tokenizer)
        if request.until_end:
            _require_documents(tokenizer)
            self._stops, self._start = [*request.stop, END], END

    def write(self, prompt: str) -> None:
        """Write `count` continuations to stdout, each after the prompt.

        Raises:
            VocabularyError: the model has never seen a character of the prompt.
        """
        tokenizer, request = self._tokenizer, self._request
        prompt = tokenizer.decode(tokenizer.encode(with_lf(prompt), request.unknown))
        start = tokenizer.encode(prompt or self._start)
        rows = map(tokenizer.decode, generate(self._decoder, start, request.chars, self._config))
        if request.count == 1:
            write_out(prompt)
            lengths = [0]
            for piece in stop_before(rows, self._stops):
                write_out(piece)
                lengths[0] += len(piece)
            write_out("\n")
        else:
            # All share every pass through the model: none can be shown before the others.
            columns = zip(*rows, strict=True) if request.chars else [()] * request.count
            texts = ["".join(stop_before(column, self._stops)) for column in columns]
            write_out("---\n".join(f"{prompt}{text}\n" for text in texts))
            lengths = [len(text) for text in texts]
        if request.until_end and (cut := lengths.count(request.chars)):
            _note_cut(cut, request)


def _read_prompt(file: Path) -> str:
    """Read a file (- is standard input) as texts are read, less one line break at its end.

    Most editors add it; who means a new line leaves an empty one.
    """
    try:
        if str(file) == "-":
            name, data = tr("standard input"), sys.stdin.buffer.read() if sys.stdin else b""
        else:
            with open_text(file) as opened:
                name, data = printable(file), opened.read()
    except OSError as error:
        refuse(error, file)
    if not data:
        return ""
    decoded = decode(data, name)
    for notice in decoded.notices:
        print(labelled(tr("note"), harmless(notice)), file=sys.stderr)
    return decoded.text.removesuffix("\n")


def _note_cut(cut: int, request: SampleRequest) -> None:
    """Say of how many texts the end is missing."""
    sentence = tr(
        "texts cut off after {chars:,} characters, before their end: {cut} of {count}; "
        "--chars allows more",
        cut=cut,
        count=request.count,
        chars=request.chars,
    )
    print(labelled(tr("note"), sentence), file=sys.stderr)


def _require_possible(stops: Sequence[str], tokenizer: Tokenizer) -> None:
    for stop in stops:
        try:
            tokenizer.encode(stop)
        except VocabularyError as error:
            raise VocabularyError(
                tr("--stop {stop!r} can never be reached: the model cannot write it", stop=stop),
                error.what,
                tr("choose another text; a line break is typed as $'\\n' in bash"),
            ) from error


def _require_documents(tokenizer: Tokenizer) -> None:
    if END not in tokenizer:
        raise UsageError(
            tr("this model cannot end a text by itself"),
            tr("it did not learn documents: several files, .jsonl, or a text with --separator"),
            tr("leave --until-end out; --stop ends before a text of your choice"),
        )


def _load(path: Path, device: str, count: int) -> tuple[Decoder, Tokenizer]:
    """Load the quick decoder, or with a device torch's; each is imported only if needed."""
    if device == "auto":
        from zigpt.generate.quick import QuickDecoder

        file = read_lazily(path)
        return QuickDecoder(file.config, file.weights, count), file.tokenizer
    from zigpt.formats.saved_model import load_model
    from zigpt.generate.reference import ReferenceDecoder
    from zigpt.training.device import pick_device

    saved = load_model(path, pick_device(device))
    return ReferenceDecoder(saved.model, count), saved.tokenizer
