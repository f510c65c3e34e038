"""Claim: the text is the one that was learned, and its characters are those of the model."""

from zigpt.data.source import Source
from zigpt.data.stored import StoredText
from zigpt.tokenizers.base import Tokenizer
from zigpt.tokenizers.char import CharTokenizer
from zigpt.verify.check import Check

_PIECE = 1 << 20  # characters that are encoded and decoded at once


def check_vocabulary(source: Source, sha256: str, tokenizer: Tokenizer) -> Check:
    """Compare a text with its recorded SHA-256 and a model's vocabulary, there and back."""
    text = source.text
    numbers = {"characters": len(text), "distinct": tokenizer.vocab_size, "sha256": source.sha256}
    if source.sha256 != sha256:
        return _failed(
            f"{source.origin} is not the text of this run: its SHA-256 begins with "
            f"{source.sha256[:12]}, that of the run with {sha256[:12]}.",
            numbers,
        )
    known = text.tokenizer if isinstance(text, StoredText) else CharTokenizer.from_text(text)
    if odd := sorted(set(known.vocabulary) ^ set(tokenizer.vocabulary)):
        named = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in odd[:5])
        return _failed(f"Only one of text and model has the characters {named}.", numbers)
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        if (again := tokenizer.decode(tokenizer.encode(piece))) != piece:
            pairs = enumerate(zip(piece, again, strict=False))
            same = next((i for i, (old, new) in pairs if old != new), len(again))
            return _failed(
                f"Turned into ids and back, {source.origin} is another text from character "
                f"{start + same:,} on.",
                numbers,
            )
    detail = (
        f"{source.origin} has the recorded SHA-256 ({sha256[:12]}...) and exactly the model's "
        f"{tokenizer.vocab_size:,} distinct characters. Turned into ids and back, all "
        f"{len(text):,} characters are as they were."
    )
    return Check("vocabulary", "passed", detail, numbers)


def _failed(detail: str, numbers: dict[str, object]) -> Check:
    return Check("vocabulary", "failed", detail, numbers)
