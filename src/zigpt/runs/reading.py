"""What a training run learns of its text before it needs torch, which takes longer to load."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from zigpt.data.baselines import Ladder, build_ladder
from zigpt.data.batches import Corpus
from zigpt.data.source import Source, default_text, read_texts
from zigpt.data.survey import advice, survey
from zigpt.gpt.config import PresetName, configure
from zigpt.runs.request import TrainRequest

Notify = Callable[[str], object]


@dataclass(frozen=True)
class Reading:
    """A text, its ids, what is unusual about it, and what simpler models reach on it."""

    source: Source
    corpus: Corpus
    advice: tuple[str, ...]
    ladder: Ladder


def read(request: TrainRequest, notify: Notify = lambda sentence: None) -> Reading:
    """Read the text of a training run that is to be started; `notify` tells what takes time.

    Raises:
        ConfigError: the settings are impossible, whatever the text.
        TextError: the text is missing, empty or not text.
    """
    require_possible(request.preset, request.settings)
    source = find_text(request, notify)
    corpus = Corpus.from_text(source.text, n_train=source.n_train)
    noticed = tuple(advice(survey(source.text, len(corpus.train))))
    ladder = build_ladder(corpus.train, corpus.validation, corpus.tokenizer.vocab_size)
    return Reading(source, corpus, noticed, ladder)


def find_text(request: TrainRequest, notify: Notify = lambda sentence: None) -> Source:
    """Read the texts that were named, or else the default; `notify` tells what takes time.

    Raises:
        TextError: one of them is missing, empty or not text.
    """
    if request.texts:
        return read_texts(request.texts, request.how, request.arrangement)
    how, arrangement = request.how, request.arrangement
    return default_text(Path.cwd(), notify=notify, how=how, arrangement=arrangement)


def require_possible(preset: str, settings: Mapping[str, Any]) -> None:
    """Check the settings as far as possible without a text, which may take long to read.

    Raises:
        ConfigError: they are impossible, whatever the text.
    """
    if preset != "auto":
        configure(2, cast(PresetName, preset), settings)
