"""Files that people take for a model of ours: whose they are, and what to do with them."""

import re
from collections.abc import Iterable
from pathlib import Path

from zigpt.errors import ModelFileError
from zigpt.language import mark, tr

LONGEST_BEGINNING = 256  # bytes
_TRAINED_HERE = mark("zigpt reads models that it has trained itself")
_FROM_RUN = mark("give a run folder or a model.safetensors")
# How a file begins, what that is, why it is refused, what to do.
_KINDS = (
    (rb"GGUF", mark("a GGUF file of llama.cpp"), _TRAINED_HERE, mark("open it with llama.cpp")),
    (rb"\x89HDF\r\n\x1a\n", mark("an HDF5 file, as Keras writes them"), _TRAINED_HERE, _FROM_RUN),
    (rb"\x93NUMPY", mark("a numpy array"), _TRAINED_HERE, _FROM_RUN),
    (rb"PK\x03\x04.{26}[^\0]*?\.npy", mark("a numpy archive"), _TRAINED_HERE, _FROM_RUN),
    (
        rb"PK\x03\x04(?!.{26}[^\0]*?\.pkl)",  # torch's own begin with one
        mark("a zip archive"),
        mark("zigpt reads a model as it is, not packed"),
        mark("unpack it, and give the run folder or the model.safetensors in it"),
    ),
    # Its version, then the name of the program that made it. The fourth byte of a safetensors file
    # is 0: no header that zigpt reads has 16 MB.
    (rb"\x08[\x01-\x20]\x12[^\0]", mark("an ONNX file"), _TRAINED_HERE, _FROM_RUN),
    (
        rb"(?i)\s*<(!doctype html|html)",
        mark("a web page"),
        mark("the download brought a page, perhaps an error or a login, instead of the file"),
        mark("download the file itself again"),
    ),
    (
        rb"version https://git-lfs",
        mark("a pointer of Git LFS"),
        mark("the model itself has not been downloaded"),
        mark("type git lfs pull, or download the file itself"),
    ),
    (
        rb'\{\s*"format"',
        mark("a run.json"),
        mark("it describes a run; the model is in model.safetensors beside it"),
        mark("give the folder that it lies in"),
    ),
)


def require_no_other_kind(path: Path, beginning: bytes) -> None:
    """Check that a file does not begin like one of another kind.

    Raises:
        ModelFileError: it does; its kind is named.
    """
    for pattern, kind, why, fix in _KINDS:
        if re.match(pattern, beginning, re.DOTALL):
            raise ModelFileError(
                tr("{path} is {kind}, not a zigpt model", path=path, kind=tr(kind)),
                tr(why),
                tr(fix),
            )


def without_header(path: Path, names: Iterable[str]) -> ModelFileError:
    """Build the refusal of a safetensors file in which zigpt has not written what the model is."""
    if any(name.startswith("token_embedding.weight") for name in names):
        return ModelFileError(
            tr("{path} is part of a checkpoint, not a zigpt model", path=path),
            tr("it has weights without their settings and vocabulary"),
            tr("give the run folder that it lies in"),
        )
    return ModelFileError(
        tr("{path} is a model of another program, not a zigpt model", path=path),
        tr("it has no zigpt header: neither settings nor vocabulary that zigpt could read"),
        tr(_FROM_RUN),
    )
