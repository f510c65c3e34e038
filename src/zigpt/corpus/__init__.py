"""File(s) -> decoded text -> ids -> splits -> batches."""

from zigpt.corpus.batches import Corpus
from zigpt.corpus.source import Source, default_text, python_reference, read_texts

__all__ = ["Corpus", "Source", "default_text", "python_reference", "read_texts"]
