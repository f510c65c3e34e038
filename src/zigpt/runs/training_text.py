"""The text that a model was trained on: how a file describes it, and where it lies."""

import contextlib
import hashlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zigpt import untrusted_json
from zigpt.data.arrangement import AS_THEY_ARE, Arrangement
from zigpt.data.encodings import AS_IT_IS, Decoding
from zigpt.data.files import printable
from zigpt.data.source import Source, python_reference, read_texts
from zigpt.errors import ModelFileError, TextError, TextMovedError, UsageError
from zigpt.language import tr
from zigpt.runs.paths import RUN_FILE, run_around
from zigpt.storage import disk, make_folder, storage_errors, write_file, write_stream

_PIECE = 1 << 20  # bytes
_BEFORE = Arrangement(validation="last", marks_ends=False)  # of runs that do not say


def fingerprint(source: Source) -> dict[str, Any]:
    """Describe a text so that it can be found again and distinguished from any other."""
    more: dict[str, Any] = {} if source.how == AS_IT_IS else {"how": asdict(source.how)}
    if source.arrangement != AS_THEY_ARE or source.is_marked:
        held_out = len(source.arrangement.held_out)  # the last of the paths
        more["arrangement"] = {**asdict(source.arrangement), "held_out": held_out}
    return {
        "name": source.name,
        "origin": source.origin,
        "paths": [os.path.abspath(path) for path in source.paths],
        "sha256": source.sha256,
        "characters": len(source.text),
        "encoding": source.encoding,
        **more,
    }


def text_of_run(values: Any) -> Mapping[str, Any]:
    """Take the fingerprint of the training text from the values of a run.json.

    Raises:
        ModelFileError: there is none, or it does not say where the text is.
    """
    text = _text_of(values)
    if "paths" not in text:
        raise _no_text()
    return text


def text_of_model(path: Path, about: Any) -> Mapping[str, Any]:
    """Take the fingerprint of the training text from what a model file, or a run's, is `about`.

    A model file does not say where its text is, unless it is an old one: the run.json of its run
    folder does.

    Raises:
        ModelFileError: there is none.
    """
    text = _text_of(about)
    with contextlib.suppress(OSError, ValueError, ModelFileError):
        recorded = text_of_run(untrusted_json.parse_file(run_around(path) / RUN_FILE))
        if recorded["sha256"] == text["sha256"]:
            return recorded
    return text


def _text_of(values: Any) -> Mapping[str, Any]:
    text = values.get("text") if isinstance(values, dict) else None
    if isinstance(text, dict) and isinstance(text.get("sha256"), str):
        paths = text.get("paths", [])
        is_list = isinstance(paths, list) and all(isinstance(path, str) for path in paths)
        if is_list and _is_possible(text):
            return text
    raise _no_text()


def _no_text() -> ModelFileError:
    return ModelFileError(
        tr("the model does not say what text it was trained on"),
        tr("its file was made or changed by something else"),
        tr("use the model.safetensors that a training run wrote"),
    )


def _is_possible(text: Mapping[str, Any]) -> bool:
    try:
        return bool(how_it_was_read(text, [Path(path) for path in text.get("paths", [])]))
    except (TypeError, ValueError, KeyError, UsageError):
        return False


def how_it_was_read(
    text: Mapping[str, Any], paths: Sequence[Path]
) -> tuple[Sequence[Path], Decoding, Arrangement]:
    """Take out of a fingerprint how its paths are to be read: those to learn from, and the rest."""
    how = Decoding(**text["how"]) if "how" in text else AS_IT_IS
    if "arrangement" not in text:
        return paths, how, _BEFORE
    arranged = dict(text["arrangement"])
    n_learned = len(paths) - arranged.pop("held_out")
    held_out = tuple(paths[n_learned:])
    return paths[:n_learned], how, Arrangement(**arranged, held_out=held_out)


def keep_text(text: str) -> Path:
    """Write a text that has no file into `texts/`, unless it is there: a resume reads it again.

    Raises:
        StorageError: the folder is not writable.
    """
    data = text.encode(errors="surrogatepass")
    path = Path("texts") / f"pasted-{hashlib.sha256(data).hexdigest()[:8]}.txt"
    if not path.exists():
        make_folder(path.parent)
        write_file(path, data)
    return path


def with_standard_input(
    texts: Sequence[Path], notify: Callable[[str], object] = lambda sentence: None
) -> tuple[Path, ...]:
    """Put a file in `texts/` in the place of -, which is standard input: a resume reads it again.

    Raises:
        TextError: standard input is closed.
        StorageError: the folder is not writable, or the disk is full.
    """
    return tuple(_keep_input(notify) if str(path) == "-" else path for path in texts)


def _keep_input(notify: Callable[[str], object]) -> Path:
    if sys.stdin is None:
        raise TextError(
            tr("there is no standard input"), tr("it was closed"), tr("give a text file")
        )
    if sys.stdin.isatty():
        notify(tr("reading what you type; Ctrl-D at the beginning of a line ends it"))
    sha256, source = hashlib.sha256(), sys.stdin.buffer

    def pieces() -> Iterator[bytes]:
        while piece := source.read(_PIECE):
            sha256.update(piece)
            yield piece

    part = Path("texts") / f"stdin-{os.getpid()}"
    make_folder(part.parent)
    with storage_errors(part):
        write_stream(part, pieces())
        path = part.with_name(f"stdin-{sha256.hexdigest()[:8]}.txt")
        disk.rename(part, path)
    return path


def find_again(
    text: Mapping[str, Any], moved: Sequence[Path] = (), held_out: tuple[Path, ...] = ()
) -> Source:
    """Read the text of a fingerprint from where it was.

    Or from where it was `moved`, together with what is `held_out`.

    Raises:
        TextMovedError: it is no longer there, or the fingerprint does not say where.
        TextError: it can no longer be read as text.
    """
    if moved:
        _, how, arrangement = how_it_was_read(text, [])
        return read_texts(moved, how, replace(arrangement, held_out=held_out))
    if "paths" not in text:
        raise TextMovedError(
            tr("cannot find the training text {name!r:.60}", name=str(text.get("name", ""))),
            tr("a model file does not say where its text is; the run.json of its run folder does"),
            tr("use the model within its run folder"),
        )
    paths = [Path(path) for path in text["paths"]]
    if gone := [path for path in paths if not os.path.exists(path)]:
        name, more = printable(gone[0]), len(gone) - 1
        raise TextMovedError(
            tr("cannot read {path} and {count:,} more", path=name, count=more)
            if more
            else tr("cannot read {path}", path=name),
            tr("the training text is no longer there"),
            tr("put it back there"),
        )
    return read_texts(*how_it_was_read(text, paths)) if paths else python_reference()
