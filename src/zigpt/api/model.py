"""A trained model to use: generate, score, inspect, export."""

import base64
import html
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zigpt.anatomy.activations import Activations, inspect
from zigpt.anatomy.predictions import Predictions, predict
from zigpt.data.batches import Corpus
from zigpt.errors import UsageError
from zigpt.formats import FORMATS
from zigpt.formats.saved_model import SavedModel, load_model
from zigpt.generate.loop import generate_text
from zigpt.generate.reference import ReferenceDecoder
from zigpt.gpt.config import GPTConfig, SampleConfig
from zigpt.gpt.model import GPT
from zigpt.language import tr
from zigpt.runs.paths import LOSS_PICTURE
from zigpt.tokenizers.base import Tokenizer
from zigpt.training.device import pick_device
from zigpt.training.loop import split_loss


def load(path: str | Path, device: str = "auto") -> "Model":
    """Load a model from its file or from the run folder that holds it.

    >>> zigpt.load("runs/story").config.n_layer
    1

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
        UsageError: the named device is not on this machine.
    """
    return Model(load_model(path, pick_device(device)), Path(path))


class Model:
    """A trained GPT with its vocabulary, in evaluation mode and float32.

    >>> model = zigpt.load("runs/story")
    """

    def __init__(self, saved: SavedModel, path: Path) -> None:
        self._saved, self._path = saved, path

    @property
    def gpt(self) -> GPT:
        """The network: ids (B, T) in, logits (B, T, V) out.

        >>> model.gpt(torch.tensor([[1, 2, 3]])).shape[:2]
        torch.Size([1, 3])
        """
        return self._saved.model

    @property
    def config(self) -> GPTConfig:
        """The shape of the network.

        >>> model.config.block_size
        16
        """
        return self._saved.model.config

    @property
    def tokenizer(self) -> Tokenizer:
        """Text to ids and back.

        >>> model.tokenizer.decode(model.tokenizer.encode("a lamp"))
        'a lamp'
        """
        return self._saved.tokenizer

    def generate(self, prompt: str = "", chars: int = 500, **settings: Any) -> str:
        """Continue `prompt` by `chars` characters and return both; no prompt is a line break.

        `settings` are fields of SampleConfig: temperature, top_k, top_p, min_p, repetition_penalty,
        seed. The same seed gives the same text.

        >>> model.generate("a lamp", chars=20, seed=1) == model.generate("a lamp", chars=20, seed=1)
        True

        Raises:
            UsageError: a value is out of its range.
            VocabularyError: the prompt holds characters that the model has never seen.
        """
        return prompt + "".join(self.stream(prompt, chars, **settings))

    def stream(self, prompt: str = "", chars: int = 500, **settings: Any) -> Iterator[str]:
        """Continue `prompt` as `generate` does, one character at a time, without the prompt.

        >>> "".join(model.stream("a lamp", chars=3)) == model.generate("a lamp", chars=3)[-3:]
        True
        """
        _require_at_least(0, "chars", chars)
        decoder, config = ReferenceDecoder(self._saved.model), SampleConfig(**settings)
        return generate_text(decoder, self.tokenizer, prompt, chars, config)

    def loss(self, text: str) -> float:
        """Compute the exact mean loss over a whole text, in nats per character.

        >>> model.loss("a lamp on the bridge") < math.log(model.config.vocab_size)
        True

        Raises:
            UsageError: the text has fewer than 2 characters.
            VocabularyError: it holds characters that the model has never seen.
        """
        _require_length(text, 2)
        ids = self.tokenizer.encode(text)
        return split_loss(self._saved.model, Corpus(self.tokenizer, ids[:0], ids), "validation")

    def predictions(self, text: str, n_guesses: int = 5) -> Predictions:
        """Predict each character of a text from those before it: losses, ranks, best guesses.

        >>> answers = model.predictions("a lamp", n_guesses=3)
        >>> answers.losses.shape, answers.guesses.shape
        (torch.Size([5]), torch.Size([5, 3]))

        Raises:
            UsageError: the text has fewer than 2 characters, or more than block size + 1.
            VocabularyError: it holds characters that the model has never seen.
        """
        _require_at_least(1, "n_guesses", n_guesses)
        _require_length(text, 2, self.config.block_size + 1)
        return predict(self._saved.model, self._saved.ids(text), n_guesses)

    def inspect(self, text: str) -> Activations:
        """Run the model once on a text and keep everything it computes.

        >>> model.inspect("a lamp").weights.shape  # layers, heads, and 6 x 6 characters
        torch.Size([1, 2, 6, 6])

        Raises:
            UsageError: the text is empty, or longer than the block size.
            VocabularyError: it holds characters that the model has never seen.
        """
        _require_length(text, 1, self.config.block_size)
        return inspect(self._saved.model, self._saved.ids(text))

    def export(self, kind: str, path: str | Path) -> None:
        """Write the model as a file of the given kind; "safetensors" is the kind of a run.

        >>> model.export("safetensors", "copy.safetensors")
        >>> zigpt.load("copy.safetensors").loss("a lamp") == model.loss("a lamp")
        True

        Raises:
            UsageError: there is no such kind.
            StorageError: the disk did not take it.
        """
        if kind not in FORMATS:
            raise UsageError(
                tr("there is no `kind` of file called {kind!r}", kind=kind),
                tr("a model can be exported as {formats}", formats=", ".join(FORMATS)),
                tr('try `kind` "{format}"', format=next(iter(FORMATS))),
            )
        FORMATS[kind].write(Path(path), self._saved.to_file())

    def __repr__(self) -> str:
        config = self.config
        return (
            f"<zigpt model: {config.n_parameters:,} parameters, {config.n_layer} layers x "
            f"{config.n_head} heads x {config.n_embd} wide, block {config.block_size}, "
            f"{config.vocab_size:,} characters>"
        )

    def _repr_html_(self) -> str:
        """Show a notebook what the model is, and its loss picture where there is one."""
        return as_html(repr(self), self._path / LOSS_PICTURE)


def _require_at_least(least: int, name: str, value: int) -> None:
    if value < least:
        raise UsageError(
            tr("`{name}` cannot be {value}", name=name, value=value),
            tr("it must be {least} or more", least=least),
            tr("raise `{name}`", name=name),
        )


def _require_length(text: str, least: int, most: int | None = None) -> None:
    if len(text) < least:
        raise UsageError(
            tr("a `text` of {count} characters is too short", count=len(text)),
            tr("it takes at least {least}", least=least),
            tr("give a longer `text`"),
        )
    if most is not None and len(text) > most:
        raise UsageError(
            tr("a `text` of {count:,} characters is too long to be read at once", count=len(text)),
            tr("this model takes at most {most:,}", most=most),
            tr("give `text` a piece of it, such as text[-{most}:]", most=most),
        )


def as_html(description: str, picture: Path) -> str:
    """Join a description and a PNG, if it is there, for a notebook to show."""
    paragraph = f"<p>{html.escape(description)}</p>"
    if not picture.is_file():
        return paragraph
    data = base64.b64encode(picture.read_bytes()).decode()
    source = f"data:image/png;base64,{data}"
    return f'{paragraph}<img alt="loss over the steps" width="640" src="{source}">'
