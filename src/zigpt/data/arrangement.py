"""What a person decides about the documents of a text. Loads in milliseconds: no NumPy here."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

from zigpt.errors import TextError, UsageError
from zigpt.gpt.config import TrainConfig
from zigpt.language import tr

END = "␃"  # ends every document, where there are several
# last: the last tenth; spread: a tenth, from everywhere; auto: spread over several documents
Validation = Literal["auto", "last", "spread"]


@dataclass(frozen=True)
class Arrangement:
    """How texts become one: what ends a document, what is held out, what is read first.

    Raises:
        UsageError: the separator is empty.
    """

    validation: Validation = "auto"
    held_out: tuple[Path, ...] = ()  # files and folders: the validation split, if there are any
    separator: str | None = None  # what ends a document within a file
    shuffle: int | None = None  # the seed that orders the documents; None: as they are
    marks_ends: bool = True  # with END; runs of earlier versions did not

    @classmethod
    def of(
        cls,
        validation: str | Path = "auto",
        separator: str | None = None,
        *,
        is_shuffled: bool = False,
        seed: int | None = None,
    ) -> "Arrangement":
        """Take `validation` as a word, or else as a path; shuffle by `seed`, or the usual one.

        Raises:
            TextError: it is neither.
        """
        shuffle = (TrainConfig.seed if seed is None else seed) if is_shuffled else None
        if validation in get_args(Validation):
            return cls(cast(Validation, validation), (), separator, shuffle)
        if not os.path.exists(validation):
            raise TextError(
                tr("cannot read {path}", path=validation),
                tr("`validation` is auto, last, spread, or a file or folder that exists"),
                tr("check the path"),
            )
        return cls("auto", (Path(validation),), separator, shuffle)

    def __post_init__(self) -> None:
        if self.separator == "":
            raise UsageError(
                tr("`separator` cannot be empty"),
                tr("every text has an empty one in it, between any two characters"),
                tr("leave `separator` out, or name what ends a document"),
            )


AS_THEY_ARE = Arrangement()
