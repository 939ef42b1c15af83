"""Suggests the known word that a misspelt one was meant to be."""

import difflib
from collections.abc import Iterable

MAX_CHOICES = 20  # listed by name


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Returns `` (did you mean `x`?)`` for the most similar choice, or a list of the choices."""
    words = sorted(choices)
    match = difflib.get_close_matches(word, words, n=1)
    if match:
        return f" (did you mean `{match[0]}`?)"
    more = f" and {len(words) - MAX_CHOICES} more" if len(words) > MAX_CHOICES else ""
    return f"; known: {', '.join(words[:MAX_CHOICES])}{more}" if words else ""
