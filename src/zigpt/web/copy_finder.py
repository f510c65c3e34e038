"""What a model copied: which passages of a text stand word for word in its training text."""

from pathlib import Path
from typing import Any

from zigpt.anatomy.copies import Passage, TrainingText
from zigpt.errors import ZigptError
from zigpt.formats.saved_model import SavedModel
from zigpt.runs.training_text import find_again, text_of_model

LARGEST = 20_000_000  # characters: sorting them takes half a minute and 1 GB
_UNSEEN = 20_000  # characters of the validation split that tell copies from coincidences
_NO_COINCIDENCE = 60  # characters in a row that agree: no coincidence is as long
_AROUND = 80  # characters of its line that are shown on each side of a passage


class CopyFinder:
    """Holds the text that a model was trained on, ready to be searched; read on first use."""

    def __init__(self) -> None:
        self._sha256: str | None = None
        self._name = ""
        self._training = TrainingText("")
        self._shortest = 1

    def find(self, path: Path, saved: SavedModel, text: str) -> dict[str, Any]:
        """Find the passages of a text that are copies, and where they come from.

        `path` is the run folder of the model, or its file.
        `absent` says why there is nothing to compare with: missing, changed or large.
        """
        if absent := self._read(path, saved):
            return {"absent": absent}
        shared = self._training.passages(text)
        return {
            "name": self._name,
            "shortest": self._shortest,
            "longest": max((passage.length for passage in shared), default=0),
            "passages": [
                self._locate(passage) for passage in shared if passage.length >= self._shortest
            ],
        }

    def _read(self, path: Path, saved: SavedModel) -> str | None:
        """Read the text of this model unless it is held; return why that is impossible."""
        try:
            own = text_of_model(path, saved.about)
            if own["sha256"] == self._sha256:
                return None
            characters = own.get("characters")
            if isinstance(characters, int) and characters > LARGEST:
                return "large"
            source = find_again(own)
        except ZigptError:
            return "missing"
        if source.sha256 != own["sha256"]:
            return "changed"
        if len(source.text) > LARGEST:
            return "large"
        text = source.text[:]
        n_train = source.n_train
        self._training = TrainingText(text[:n_train])
        unseen = text[n_train : n_train + _UNSEEN]
        # If a text repeats itself, what was not trained on is a copy as well.
        self._shortest = min(self._training.shortest_copy(unseen), _NO_COINCIDENCE)
        self._name, self._sha256 = source.name, source.sha256
        return None

    def _locate(self, passage: Passage) -> dict[str, Any]:
        """Describe a passage: its line, counted from 1, and the text around it there."""
        text, start = self._training.text, passage.source
        end = start + passage.length
        begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end)
        stop = len(text) if stop < 0 else stop
        return {
            "start": passage.start,
            "length": passage.length,
            "line": text.count("\n", 0, start) + 1,
            "before": text[max(begin, start - _AROUND) : start],
            "after": text[end : min(stop, end + _AROUND)],
        }
