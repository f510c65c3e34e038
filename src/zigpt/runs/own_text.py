"""The text that a model was trained on: what the model says of it, and where it lies."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zigpt.corpus import Source, python_reference, read_texts
from zigpt.corpus.files import shown
from zigpt.errors import ModelFileError, TextError


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
