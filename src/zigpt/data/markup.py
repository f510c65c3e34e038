"""Whether a text is marked up, so that a model of it would learn the marks."""

import json
import re

_SHARE = 0.1  # of the characters in tags
_LINES = 5  # that are looked at, of a text with an object in each


def markup_of(text: str) -> str:
    """Name the kind of markup a text is in, "" where it reads like plain text."""
    start = text.lstrip()[:200].lower()
    if start.startswith("{\\rtf"):
        return "RTF"
    if start.startswith(("<!doctype html", "<html")):
        return "HTML"
    if start.startswith("<?xml"):
        return "XML"
    tags = sum(map(len, re.findall(r"</?[A-Za-z][^<>]{0,200}>", text)))
    if tags > _SHARE * len(text):
        return "HTML"
    return "JSON" if _is_json(text) else ""


def _is_json(text: str) -> bool:
    lines = [line for line in text.split("\n")[:_LINES] if line.strip()]
    if not lines:
        return False
    try:
        return all(isinstance(json.loads(line), dict | list) for line in lines)
    except (ValueError, RecursionError):
        return bool(re.match(r"\s*[\[{]\s*\{?\s*\"[^\"\n]{1,99}\"\s*:", text))
