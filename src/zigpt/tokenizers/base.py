"""What every tokenizer can do. Ids are numpy arrays of the smallest unsigned type that fits."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.unsignedinteger[Any]]
Unknown = Literal["error", "drop", "replace"]


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back, with a fixed vocabulary."""

    kind: ClassVar[str]
    """How files name this sort of tokenizer."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """The text of each id: all that has to be stored to build the tokenizer again."""
        ...

    @property
    def vocab_size(self) -> int:
        """Number of ids, V."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """The smallest unsigned type that holds every id."""
        ...

    def __contains__(self, piece: str) -> bool: ...

    def encode(self, text: str, unknown: Unknown = "error", start: int = 0) -> Ids:
        """Turn text into ids.

        `unknown` says what to do with text that has no id: raise, leave it out, or replace it. For
        a piece of a longer text, `start` is its position there, for messages.

        Raises:
            VocabularyError: naming what has no id.
        """
        ...

    def decode(self, ids: Any) -> str:
        """Turn ids (anything numpy takes as an array of integers) back into text.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ...
