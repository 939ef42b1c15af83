"""What a word that is not known may have been meant to be."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns `` (did you mean `x`?)`` for the nearest known word, or the list of all."""
    words = sorted(known)
    match = difflib.get_close_matches(word, words, n=1)
    if match:
        return f" (did you mean `{match[0]}`?)"
    return f"; known: {', '.join(words)}" if words else ""
