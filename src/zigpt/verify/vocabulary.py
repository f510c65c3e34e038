"""Claim: the text is the one the model was trained on, and its characters are the vocabulary."""

from zigpt.data.source import Source
from zigpt.data.stored import StoredText
from zigpt.language import joined, tr
from zigpt.tokenizers.base import Tokenizer
from zigpt.tokenizers.char import CharTokenizer
from zigpt.verify.check import Check

_PIECE = 1 << 20  # characters encoded and decoded at once


def check_vocabulary(source: Source, sha256: str, tokenizer: Tokenizer) -> Check:
    """Compare a text with its recorded SHA-256 and the vocabulary; encode and decode it."""
    text = source.text
    numbers = {"characters": len(text), "distinct": tokenizer.vocab_size, "sha256": source.sha256}
    if source.sha256 != sha256:
        detail = tr(
            "{text} is not the text of this run: its SHA-256 starts with {found}, the recorded "
            "one with {recorded}.",
            text=source.origin,
            found=source.sha256[:12],
            recorded=sha256[:12],
        )
        return _failed(detail, numbers)
    own = text.tokenizer if isinstance(text, StoredText) else CharTokenizer.from_text(text)
    if odd := sorted(set(own.vocabulary) ^ set(tokenizer.vocabulary)):
        named = ", ".join(f"{c!r} (U+{ord(c):04X})" for c in odd[:5])
        detail = tr("Text and vocabulary differ in the characters {named}.", named=named)
        return _failed(detail, numbers)
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        if (again := tokenizer.decode(tokenizer.encode(piece))) != piece:
            pairs = enumerate(zip(piece, again, strict=False))
            same = next((i for i, (old, new) in pairs if old != new), len(again))
            detail = tr(
                "Encoded and decoded again, {text} differs from character {at:,} on.",
                text=source.origin,
                at=start + same,
            )
            return _failed(detail, numbers)
    detail = joined(
        tr(
            "{text} has the recorded SHA-256 ({sha256}...) and exactly the model's "
            "{distinct:,} distinct characters.",
            text=source.origin,
            sha256=sha256[:12],
            distinct=tokenizer.vocab_size,
        ),
        tr("Encoded and decoded again, all {count:,} characters are unchanged.", count=len(text)),
    )
    return Check("vocabulary", "passed", detail, numbers)


def _failed(detail: str, numbers: dict[str, object]) -> Check:
    return Check("vocabulary", "failed", detail, numbers)
