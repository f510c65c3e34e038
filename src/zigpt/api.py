"""What `import zigpt` offers: load a model and use it, or train one."""

import base64
import html
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from zigpt.anatomy.activations import Activations, inspect
from zigpt.anatomy.predictions import Predictions, predict
from zigpt.data.batches import Corpus
from zigpt.errors import UsageError
from zigpt.formats import safetensors
from zigpt.formats.base import Format
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.generate.loop import write
from zigpt.generate.reference import ReferenceDecoder
from zigpt.gpt.config import GPTConfig, SampleConfig
from zigpt.runs.events import Evaluated, Finished, Opened, Stepped
from zigpt.runs.paths import LOSS_PICTURE
from zigpt.runs.request import Preset, TrainRequest
from zigpt.runs.session import train_run
from zigpt.runs.signals import listening
from zigpt.runs.training_text import keep_text
from zigpt.tokenizers.base import Tokenizer
from zigpt.training.device import pick_device
from zigpt.training.loop import Progress, split_loss

_LONGEST_PATH = 4096  # characters
_FORMATS: Mapping[str, Format] = {"safetensors": safetensors}


def load(path: str | Path, device: str = "auto") -> "Model":
    """Load a model from its file or from the run folder that holds it.

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
        UsageError: the named device is not on this machine.
    """
    return Model(load_model(path, pick_device(device)), Path(path))


class Model:
    """A trained GPT with its vocabulary, in evaluation mode and float32."""

    def __init__(self, saved: SavedModel, path: Path) -> None:
        self._saved, self._path = saved, path

    @property
    def gpt(self) -> torch.nn.Module:
        """The network: ids (B, T) in, logits (B, T, V) out."""
        return self._saved.model

    @property
    def config(self) -> GPTConfig:
        """The shape of the network."""
        return self._saved.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back."""
        return self._saved.tokenizer

    def generate(
        self,
        prompt: str = "",
        chars: int = 500,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 1337,
    ) -> str:
        """Continue `prompt` by `chars` characters; return both. An empty prompt is a line break.

        The same seed gives the same text.

        Raises:
            ConfigError: a value is out of its range.
            VocabularyError: the prompt holds characters that the model has never seen.
        """
        return prompt + "".join(self.stream(prompt, chars, temperature, top_k, top_p, seed))

    def stream(
        self,
        prompt: str = "",
        chars: int = 500,
        temperature: float = 1.0,
        top_k: int = 0,
        top_p: float = 1.0,
        seed: int = 1337,
    ) -> Iterator[str]:
        """Continue `prompt` as `generate` does, one character at a time, without the prompt."""
        config = SampleConfig(temperature, top_k, top_p, seed)
        return write(ReferenceDecoder(self._saved.model), self.tokenizer, prompt, chars, config)

    def loss(self, text: str) -> float:
        """Mean loss over a text of at least two characters, exact, in nats per character.

        Raises:
            UsageError: the text is too short.
            VocabularyError: it holds characters that the model has never seen.
        """
        ids = self.tokenizer.encode(text)
        _require_two(len(ids))
        return split_loss(self._saved.model, Corpus(self.tokenizer, ids[:0], ids), "validation")

    def predictions(self, text: str, n_guesses: int = 5) -> Predictions:
        """Answer every position of a text: loss and rank of the next character, and best guesses.

        Raises:
            UsageError: the text has fewer than 2 characters, or more than block size + 1.
            VocabularyError: it holds characters that the model has never seen.
        """
        _require_two(len(text))
        if len(text) > self.config.block_size + 1:
            raise UsageError(
                f"{len(text):,} characters are too many to predict at once",
                f"the model sees {self.config.block_size} characters and predicts one more",
                "give a shorter text, or use loss() for the whole",
            )
        return predict(self._saved.model, self._saved.ids(text), n_guesses)

    def inspect(self, text: str) -> Activations:
        """Run the model once on a text and keep everything it computes.

        Raises:
            ValueError: the text is longer than the block size.
            VocabularyError: it holds characters that the model has never seen.
        """
        return inspect(self._saved.model, self._saved.ids(text))

    def export(self, kind: str, path: str | Path) -> None:
        """Write the model as a file of another kind: "safetensors" is zigpt's own.

        Raises:
            UsageError: there is no such kind.
            StorageError: the disk did not take it.
        """
        if kind not in _FORMATS:
            raise UsageError(
                f"there is no format {kind!r} to export to",
                f"this zigpt knows {', '.join(_FORMATS)}",
                f'try "{next(iter(_FORMATS))}"',
            )
        _FORMATS[kind].write(Path(path), self._saved.to_file())

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<zigpt model: {config.n_parameters:,} parameters, {config.n_layer} layers x "
            f"{config.n_head} heads x {config.n_embd} wide, block {config.block_size}, "
            f"{config.vocab_size:,} characters>"
        )

    def _repr_html_(self) -> str:
        """Show in a notebook what the model is, and its loss picture where there is one."""
        return _as_html(repr(self), self._path / LOSS_PICTURE)


class Run:
    """A finished training: its folder, its best model, and how it went."""

    def __init__(self, path: Path, loss: float, verdict: str) -> None:
        self.path, self.loss, self.verdict = path, loss, verdict

    @cached_property
    def model(self) -> Model:
        """The best model, on the CPU."""
        return load(self.path, "cpu")

    def __repr__(self) -> str:
        loss = f"validation loss {self.loss:.4f} nats per character"
        return f"<zigpt run {self.path}: {loss}; {self.verdict}>"

    def _repr_html_(self) -> str:
        """Show in a notebook how the training went, with its loss picture."""
        return _as_html(repr(self), self.path / LOSS_PICTURE)


def train(
    text: str | Path | Sequence[str | Path],
    preset: Preset = "auto",
    run: str | Path | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    minutes: float | None = None,
    device: str = "auto",
    **settings: Any,
) -> Run:
    """Train a model and return its run; Ctrl-C saves first.

    `text` is the path of a file or folder, a list of such paths, or the text itself.
    `settings` are fields of GPTConfig and TrainConfig, such as `n_layer` or `max_steps`.
    `on_progress` is called after every step and every evaluation; what it raises ends the training,
    of which the last checkpoint remains.

    Raises:
        KeyboardInterrupt: Ctrl-C; everything is saved.
        ZigptError: the text, the settings or the folder is refused, or the training failed.
    """
    where = None if run is None else Path(run)
    request = TrainRequest(_texts(text), preset, settings, where, minutes, device)
    # Only the main thread may handle signals, in any program.
    on_main_thread = threading.current_thread() is threading.main_thread()
    with listening() if on_main_thread else nullcontext() as signals:
        if signals:
            signals.gently = True
        for event in train_run(request, lambda: bool(signals and signals.code)):
            if isinstance(event, Opened):
                path = event.folder.path
            elif isinstance(event, Stepped | Evaluated) and on_progress:
                on_progress(event.progress)
            elif isinstance(event, Finished):
                return Run(path, event.loss, str(event.verdict))
    raise KeyboardInterrupt


def _texts(text: str | Path | Sequence[str | Path]) -> tuple[Path, ...]:
    if isinstance(text, str) and ("\n" in text or not os.path.exists(text[:_LONGEST_PATH])):
        return (keep_text(text),)
    return (Path(text),) if isinstance(text, str | Path) else tuple(map(Path, text))


def _require_two(length: int) -> None:
    if length < 2:
        raise UsageError(
            f"{length} characters are too few to predict anything",
            "it takes one character to see and one to predict",
            "give a longer text",
        )


def _as_html(description: str, picture: Path) -> str:
    shown = f"<p>{html.escape(description)}</p>"
    if not picture.is_file():
        return shown
    data = base64.b64encode(picture.read_bytes()).decode()
    return f'{shown}<img alt="loss over the steps" width="640" src="data:image/png;base64,{data}">'
