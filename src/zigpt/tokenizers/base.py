"""What every tokenizer does. Ids are numpy arrays of the smallest unsigned type that fits."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.unsignedinteger]
Unknown = Literal["error", "drop", "replace"]


@runtime_checkable
class Tokenizer(Protocol):
    """Text to ids and back, with a fixed vocabulary."""

    kind: ClassVar[str]
    """The name of this kind of tokenizer in files."""

    @property
    def vocabulary(self) -> Sequence[str]:
        """The text of each id: all that a file needs to rebuild the tokenizer."""
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

        `unknown` says what to do about text that has no id: refuse it, drop it, or replace it.
        Where `text` is part of a longer one, `start` is its position there, for messages.

        Raises:
            VocabularyError: naming the text that has no id.
        """
        ...

    def decode(self, ids: Any) -> str:
        """Turn ids (anything numpy takes as an array of integers) back into text.

        Raises:
            ValueError: an id is outside the vocabulary.
        """
        ...
