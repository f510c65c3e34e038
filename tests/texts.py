"""A text of our own making: words, lines and some regularity to learn."""

import random

_WORDS = (
    "the a one stone river night lamp song bread old small quiet bright sings falls waits "
    "under over beside before after and but while because\n"
)


def story(length: int, seed: int = 0) -> str:
    """Make a text of `length` characters."""
    choose = random.Random(seed)
    words: list[str] = []
    size = 0
    while size <= length:
        words.append(choose.choice(_WORDS.split(" ")))
        size += len(words[-1]) + 1
    return " ".join(words)[:length]
