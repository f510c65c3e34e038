"""`model.safetensors`: weights, config, vocabulary and origin in one file that runs no code.

Weights are numpy arrays here, so that a model can be read without waiting for torch.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from zigpt import untrusted_json
from zigpt.errors import ConfigError, ModelFileError
from zigpt.formats.base import ModelFile, Weights
from zigpt.formats.format_1 import upgrade_header
from zigpt.formats.other_files import LONGEST_BEGINNING, require_no_other_kind, without_header
from zigpt.gpt.config import GPTConfig, restore
from zigpt.language import tr
from zigpt.storage import write_file
from zigpt.tokenizers import from_record, to_record
from zigpt.tokenizers.base import Tokenizer

MODEL_FILE = "model.safetensors"
_KEY = "zigpt"
FORMAT = 2
_PACKED_COPIES = 2  # of all tensors: what the library is given, and what it makes of it
_FLOAT32 = np.dtype("<f4")  # as safetensors lays them out
# What reading a damaged file may raise.
_DAMAGE = (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError)
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")


class _LazyWeights(Weights):
    """Weights that are read when they are used: all of them are seldom needed at once.

    The file stays open, so that they all come from one step even if training replaces it. They are
    read, not mapped: a mapped file counts as memory of this process, and touching a part that has
    been cut off would end the process.
    """

    def __init__(self, path: Path, file: BinaryIO, shapes: Mapping[str, Sequence[int]]) -> None:
        """Take over `file`, whose weights have `shapes` in this order and follow its header."""
        self._path, self._file = path, file
        weakref.finalize(self, file.close)
        file.seek(0)
        place = 8 + int.from_bytes(file.read(8), "little")
        self._places: dict[str, tuple[int, Sequence[int]]] = {}
        for name, shape in shapes.items():
            self._places[name] = place, shape
            place += _FLOAT32.itemsize * math.prod(shape)

    def __getitem__(self, name: str) -> np.ndarray:
        place, shape = self._places[name]
        try:
            self._file.seek(place)
            return np.fromfile(self._file, _FLOAT32, math.prod(shape)).reshape(shape)
        except (OSError, ValueError):
            raise damaged(self._path, "it ends before its weights do, or cannot be read") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def pack(content: ModelFile) -> bytes:
    """Lay out one self-contained file.

    Raises:
        ModelFileError: `read` would refuse it.
    """
    header = {
        "format": FORMAT,
        "config": asdict(content.config),
        "tokenizer": to_record(content.tokenizer),
        "about": content.about,
        "sha256": _checksum(content.weights),
    }
    # One key, because safetensors writes several in random order: equal models, equal files.
    data = pack_tensors(content.weights, {_KEY: json.dumps(header)})
    try:
        untrusted_json.require_modest(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except ValueError as error:
        raise ModelFileError(
            tr("this would be a model file that zigpt itself refuses"),
            str(error),
            tr("use fewer layers"),
        ) from None
    return data


def pack_tensors(
    tensors: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None
) -> bytes:
    """Lay out named tensors as a safetensors file.

    Raises:
        MemoryError: there is no room for a copy.
    """
    # Where memory ends within the library, it ends the whole process. So the room is tried first.
    np.empty(_PACKED_COPIES * sum(tensor.nbytes for tensor in tensors.values()), np.uint8)
    return save(dict(tensors), metadata)


def write(path: Path, content: ModelFile) -> None:
    """Write one self-contained file, whole or not at all.

    Raises:
        ModelFileError: `read` would refuse it.
        StorageError: the disk is full, or the folder is not writable.
    """
    write_file(path, pack(content))


def read(path: Path) -> ModelFile:
    """Read a model with all of its weights, and compare them with the SHA-256 in the file.

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
    """
    path = _find(path)
    content = read_lazily(path)
    content = replace(content, weights=dict(content.weights))
    if content.sha256 not in (None, _checksum(content.weights)):
        raise damaged(path, tr("its weights do not have the SHA-256 that they were written with"))
    return content


def read_lazily(path: Path) -> ModelFile:
    """Read a model file, or that of a run folder; each weight is read when it is used.

    Weights are not compared with their SHA-256, as `read` does: for 43 MB that takes 0.04 to 0.2 s
    of the half second in which `zigpt sample` starts to write.

    Raises:
        ModelFileError: missing, damaged, a pickle, or not a model of ours.
    """
    path = _find(path)
    try:
        with contextlib.ExitStack() as opened:
            file = opened.enter_context(path.open("rb"))
            _check_beginning(path, file)
            checked: Any = safe_open(path, framework="np")
            if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                return read_lazily(path)  # a training run has just put a new one in its place
            metadata = checked.metadata() or {}
            if _KEY not in metadata:
                raise without_header(path, checked.offset_keys())
            record = metadata[_KEY].encode(errors="surrogatepass")
            header = upgrade_header(untrusted_json.parse(record))
            slices = {name: checked.get_slice(name) for name in checked.offset_keys()}
            config, tokenizer = _check(path, header, slices)
            weights = _LazyWeights(path, file, {n: p.get_shape() for n, p in slices.items()})
            content = ModelFile(config, weights, tokenizer, header["about"], header.get("sha256"))
            opened.pop_all()
    except ModelFileError:
        raise
    except _DAMAGE as error:
        raise damaged(path, _first_line(error)) from error
    return content


def _checksum(weights: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all weights in the order of their names: that of the data in the file."""
    total = hashlib.sha256()
    for name in sorted(weights):
        total.update(np.ascontiguousarray(weights[name]).data.cast("B"))
    return total.hexdigest()


def _find(path: Path) -> Path:
    if os.path.isdir(path):  # unlike the method of Path, this raises nothing for a path too long
        if not os.path.exists(path / MODEL_FILE):
            raise ModelFileError(
                tr("no {file} in {path}", file=MODEL_FILE, path=path),
                tr("a run folder has one from its first evaluation on"),
                tr("give a folder that a training run has written, or a model file"),
            )
        path = path / MODEL_FILE
    if not os.path.isfile(path):
        raise ModelFileError(
            tr("no model at {path}", path=path),
            tr("it is not a regular file")
            if os.path.exists(path)
            else tr("there is no such file or folder"),
            tr("give a run folder or a model.safetensors"),
        )
    return path


def is_model_name(path: Path) -> bool:
    """Whether a file's name is that of a model, ours or a pickle."""
    return path.suffix.lower() in (".safetensors", *_PICKLES)


def damaged(path: Path, detail: str) -> ModelFileError:
    """Build the refusal of a file that cannot be trusted."""
    return ModelFileError(
        tr("{path} is damaged or not a zigpt model", path=path),
        detail or tr("its content contradicts itself"),
        tr("use another copy, or train again"),
    )


def require_format(path: Path, number: Any) -> None:
    """Check that a file has a format number that this zigpt reads.

    Raises:
        ModelFileError: it is that of a later zigpt, or no format number.
    """
    if isinstance(number, int) and number > FORMAT:
        raise ModelFileError(
            tr("{path} was written by a newer zigpt", path=path),
            tr(
                "its format is {format!s:.20}, this zigpt reads up to {newest}",
                format=number,
                newest=FORMAT,
            ),
            tr("install the newer one, or train again"),
        )
    if type(number) is not int or number < 1:
        detail = tr(
            "its format is {format!r:.20}, this zigpt reads 1 to {newest}",
            format=number,
            newest=FORMAT,
        )
        raise damaged(path, detail)


def _first_line(error: Exception) -> str:
    if isinstance(error, ConfigError):
        return error.why[:200]
    line = str(error).splitlines()[0][:200] if str(error) else ""
    is_foreign = isinstance(error, SafetensorError)
    return tr("the safetensors library says: {line}", line=line) if is_foreign else line


def _pickled(path: Path) -> ModelFileError:
    return ModelFileError(
        tr("{path} is a pickle, not a model.safetensors", path=path),
        tr("loading a pickle runs whatever code it holds, so zigpt never does"),
        tr("give a run folder or a model.safetensors"),
    )


def _check_beginning(path: Path, file: BinaryIO) -> None:
    """Refuse a pickle, and a header that would take too much memory to parse."""
    beginning = file.read(LONGEST_BEGINNING)
    require_no_other_kind(path, beginning)
    magic = beginning[:9]
    # A safetensors file begins with a length, which may look like a pickle's first bytes, and an
    # opening brace. One that was cut before the brace still has the zeros of its length.
    pickled = re.match(rb"\x80[\x02-\x05][^\0]", magic) and magic[8:] != b"{"
    if path.suffix.lower() in _PICKLES or magic.startswith(b"PK\x03\x04") or pickled:
        raise _pickled(path)
    length = int.from_bytes(magic[:8], "little")
    file.seek(8)
    untrusted_json.require_modest(file.read(min(length, untrusted_json.LARGEST + 1)))


def _check(
    path: Path, header: dict[str, Any], slices: dict[str, Any]
) -> tuple[GPTConfig, Tokenizer]:
    """Check that the header agrees with itself before anything is read: it may claim any size."""
    require_format(path, header["format"])
    config = restore(GPTConfig, header["config"])
    shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    if 12 * config.n_layer > len(shapes) or shapes != config.shapes():
        raise damaged(path, tr("its config and its weights are of different sizes"))
    if any(part.get_dtype() != "F32" for part in slices.values()):
        raise damaged(path, tr("its weights are not all float32"))
    tokenizer = from_record(header["tokenizer"])
    if tokenizer.vocab_size != config.vocab_size:
        raise damaged(path, tr("its vocabulary and its weights are of different sizes"))
    if not isinstance(header.get("sha256", ""), str):
        raise damaged(path, tr("its SHA-256 is not one"))
    return config, tokenizer
