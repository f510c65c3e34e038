"""Everything that can be checked about a run, in order."""

from collections.abc import Iterator
from pathlib import Path

import torch

from zigpt.data.batches import Corpus
from zigpt.errors import ModelFileError, TextError
from zigpt.formats.safetensors import read_lazily
from zigpt.gpt.config import TrainConfig
from zigpt.language import joined, mark, tr
from zigpt.runs.training_text import find_again, text_of_model
from zigpt.verify.causality import check_causality, take_windows
from zigpt.verify.check import Check, sentence, unchecked
from zigpt.verify.resume import check_resume
from zigpt.verify.run_files import Found, check_run_files
from zigpt.verify.sampling_precision import check_sampling
from zigpt.verify.vocabulary import check_vocabulary

CHECKS = (
    mark("files"),
    mark("vocabulary"),
    mark("causality"),
    mark("sampling"),
    mark("resume"),
)


def check_all(path: Path, device: torch.device) -> Iterator[Check]:
    """Check a run folder, or a model file alone; what needs the model comes after its file.

    Raises:
        ModelFileError: there is neither at `path`.
    """
    found = check_run_files(path, device)
    yield found.check
    if found.saved is None:
        for name in CHECKS[1:]:
            yield unchecked(name, tr("The model file cannot be used."))
        return
    saved = found.saved
    config = found.run.record.training if found.run else TrainConfig()
    vocabulary, corpus = _text(path, found)
    yield vocabulary
    windows = take_windows(saved.model.config, config, corpus, device)
    yield check_causality(saved, config, windows)
    yield check_sampling(saved.model, read_lazily(path).weights, windows.inputs[0])
    yield _resume(found, corpus, device)


def _text(path: Path, found: Found) -> tuple[Check, Corpus | None]:
    """Find the text of a run; the corpus is None unless it is the right text."""
    assert found.saved
    try:
        about = found.saved.about
        recorded = found.run.record.text if found.run else text_of_model(path, about)
        source = find_again(recorded)
    except (TextError, ModelFileError) as error:
        remedy = tr("To have it checked, {fix}.", fix=error.fix)
        return unchecked("vocabulary", joined(sentence(error), remedy)), None
    check = check_vocabulary(source, recorded["sha256"], found.saved.tokenizer)
    if check.result != "passed":
        return check, None
    return check, Corpus.from_text(source.text, found.saved.tokenizer, source.n_train)


def _resume(found: Found, corpus: Corpus | None, device: torch.device) -> Check:
    if found.run is None:
        return unchecked(
            "resume", tr("Without a run.json the settings of the training are unknown.")
        )
    if corpus is None:
        return unchecked("resume", tr("Without its text there is nothing to train on."))
    return check_resume(*found.run.record.configs, corpus, device)
