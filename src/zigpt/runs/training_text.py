"""The text that a model was trained on: what the model says of it, and where it lies."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zigpt.data.files import printable
from zigpt.data.source import Source, python_reference, read_texts
from zigpt.errors import ModelFileError, TextMovedError
from zigpt.storage import make_folder, write_file


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


def keep_text(text: str) -> Path:
    """Write a text that has no file into `texts/`, so that a run can be resumed: only once.

    Raises:
        StorageError: the folder is not writable.
    """
    data = text.encode(errors="surrogatepass")
    path = Path("texts") / f"pasted-{hashlib.sha256(data).hexdigest()[:8]}.txt"
    if not path.exists():
        make_folder(path.parent)
        write_file(path, data)
    return path


def find_again(info: Mapping[str, Any]) -> Source:
    """Read the text that a model was trained on from where it was.

    Raises:
        TextMovedError: it is no longer there.
        TextError: it can no longer be read as text.
    """
    paths = [Path(path) for path in info["paths"]]
    if gone := [path for path in paths if not os.path.exists(path)]:
        more = f" and {len(gone) - 1:,} more" if len(gone) > 1 else ""
        now = "name the folder of its files" if len(paths) > 1 else "name it"
        raise TextMovedError(
            f"cannot read {printable(gone[0])}{more}",
            "the training text is no longer there",
            f"put it back there, or {now} where it is now",
        )
    return read_texts(paths) if paths else python_reference()
