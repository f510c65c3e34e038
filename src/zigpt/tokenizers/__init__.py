"""Text to ids and back."""

from collections.abc import Mapping
from typing import Any

from zigpt.tokenizers.base import Tokenizer
from zigpt.tokenizers.char import CharTokenizer

_KINDS = {CharTokenizer.kind: CharTokenizer}


def to_record(tokenizer: Tokenizer) -> dict[str, Any]:
    """Describe a tokenizer in the types of JSON, for `from_record` to rebuild it."""
    return {"kind": tokenizer.kind, "vocabulary": tokenizer.vocabulary}


def from_record(record: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer that `to_record` described.

    Raises:
        ValueError: there is no such kind, or the vocabulary is not one of that kind.
    """
    if record["kind"] not in _KINDS:
        raise ValueError(f"there is no tokenizer of kind {record['kind']!r:.20}")
    return _KINDS[record["kind"]](record["vocabulary"])
