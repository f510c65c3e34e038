"""Which text a command works on, and what to say about it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zigpt.cli.screen import one_line
from zigpt.config import GPTConfig, PresetName, TrainConfig, configure
from zigpt.corpus import Corpus, Source, StoredText, default_text, read_texts
from zigpt.plan import advise_preset, require_memory


def find_text(texts: Sequence[Path]) -> Source:
    """Read the texts that were named, or else the default.

    Raises:
        TextError: one of them is missing, empty or not text.
    """
    return read_texts(texts) if texts else default_text(Path.cwd())


def choose(
    preset: str, corpus: Corpus, device: torch.device, said: Mapping[str, Any]
) -> tuple[str, GPTConfig, TrainConfig]:
    """Settle the settings of a training: preset, then what was said on the command line.

    Raises:
        ConfigError: they are impossible.
        TextError: the text is too short for them.
        OutOfMemoryError: they need more memory than this machine has.
    """
    name: Any = advise_preset(corpus, device) if preset == "auto" else preset
    model, training = configure(corpus.tokenizer.vocab_size, name, said)
    corpus.require(model.block_size)
    require_memory(model, training, device)
    return name, model, training


def require_possible(preset: str, said: Mapping[str, Any]) -> None:
    """Check the settings as far as they can be without a text, which may take long to read.

    Raises:
        ConfigError: they are impossible, whatever the text.
    """
    if preset != "auto":
        configure(2, cast(PresetName, preset), said)


def describe_text(source: Source, corpus: Corpus) -> list[str]:
    """Say which text was taken, and everything its reader noticed."""
    lines = [
        f"text    {source.origin}: {len(source.text):,} characters, "
        f"{corpus.tokenizer.vocab_size:,} distinct, {source.encoding}",
        f"split   {len(corpus.train):,} characters to learn from, "
        f"the last {len(corpus.test):,} to be tested on",
    ]
    if isinstance(source.text, StoredText):
        lines.append(f"kept    as numbers in {one_line(str(source.text.path), 200)}")
    lines += [f"note    {notice}" for notice in source.notices]
    if not source.encoding.startswith("UTF-8"):
        lines.append(f"sample  {one_line(source.text[:10_000].lstrip()[:60])}")
    return lines
