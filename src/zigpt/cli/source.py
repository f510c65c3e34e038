"""Which text a command works on, and what to say about it."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from zigpt.cli.screen import one_line
from zigpt.config import GPTConfig, PresetName, TrainConfig, configure
from zigpt.corpus import Corpus, Source, StoredText, default_text, python_reference, read_texts
from zigpt.corpus.files import shown
from zigpt.errors import ModelFileError, TextError
from zigpt.plan import advise_preset, require_memory


def find_text(texts: Sequence[Path]) -> Source:
    """Read the texts that were named, or else the default.

    Raises:
        TextError: one of them is missing, empty or not text.
    """
    return read_texts(texts) if texts else default_text(Path.cwd())


def text_of(about: Any) -> Mapping[str, Any]:
    """Take from what a model says of itself the text that it was trained on.

    Raises:
        ModelFileError: it does not say.
    """
    text = about.get("text") if isinstance(about, dict) else None
    if isinstance(text, dict) and isinstance(text.get("sha256"), str):
        paths = text.get("paths")
        if isinstance(paths, list) and all(isinstance(path, str) for path in paths):
            return text
    raise ModelFileError(
        "the model does not say what text it was trained on",
        "its file was made or changed by something else",
        "use the model.safetensors that `zigpt train` wrote",
    )


def find_again(info: Mapping[str, Any], otherwise: str = "") -> Source:
    """Read the text that a model was trained on from where it was, by its fingerprint.

    `otherwise` ends the advice for a text that has moved: a command that takes TEXT instead.

    Raises:
        TextError: it is no longer there.
    """
    paths = [Path(path) for path in info["paths"]]
    if gone := [path for path in paths if not os.path.exists(path)]:
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        now = "name the folder of its files" if len(paths) > 1 else "name it"
        raise TextError(
            f"cannot read {shown(gone[0])}{more}",
            "the text of the model was there, and is not any longer",
            f"put it back there{otherwise and f', or {now} where it is now: {otherwise}'}",
        )
    return read_texts(paths) if paths else python_reference()


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
