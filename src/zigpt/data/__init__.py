"""File(s) -> decoded text -> ids -> splits -> batches."""

from zigpt.data.batches import Corpus
from zigpt.data.source import Source, default_text, python_reference, read_texts
from zigpt.data.stored import StoredText, Text, encode

__all__ = [
    "Corpus",
    "Source",
    "StoredText",
    "Text",
    "default_text",
    "encode",
    "python_reference",
    "read_texts",
]
