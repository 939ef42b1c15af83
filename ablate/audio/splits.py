"""The vocabulary of splits: the words for train, valid and test that published datasets use.

Columns of manifests, folders, names of shards and keys of JSON files are all read with it.
"""

import difflib
import re

SPLITS = ("train", "valid", "test")
SPLIT_WORDS = {  # word, in lower case -> split
    **dict.fromkeys(("train", "training", "trn", "tr"), "train"),
    **dict.fromkeys(("bal", "unbal", "balanced", "unbalanced"), "train"),  # AudioSet's lists
    **dict.fromkeys(("valid", "validation", "validate", "val", "dev", "devel"), "valid"),
    **dict.fromkeys(("test", "testing", "tst", "te", "eval", "evaluation", "evaluate"), "test"),
}


def parse_split(word: str) -> str:
    """Returns the split that a word means; empty if it means none.

    >>> parse_split(" Evaluation "), parse_split("elsewhere")
    ('test', '')
    """
    return SPLIT_WORDS.get(word.strip().lower(), "")


def find_split(name: str) -> str:
    """Returns the split that one of the words in a name means; empty if none or several do.

    >>> find_split("nsynth-valid"), find_split("train-clean-100"), find_split("test of training")
    ('valid', 'train', '')
    """
    splits = {SPLIT_WORDS[word] for word in split_words(name) if word in SPLIT_WORDS}
    return splits.pop() if len(splits) == 1 else ""


def split_words(name: str) -> list[str]:
    """Returns the words of a name in lower case, without digits."""
    return [word for word in re.split(r"[\W_\d]+", name.lower()) if word]


def format_unknown_split(word: str) -> str:
    """Formats the error for a word that means no split.

    A similar word is suggested only if all similar words mean the same split.
    """
    similar = difflib.get_close_matches(word.strip().lower(), SPLIT_WORDS, n=5, cutoff=0.6)
    suggestion = f" (did you mean `{similar[0]}`?)" if _mean_one_split(similar) else ""
    words = ", ".join(f"`{split}`" for split in SPLITS)
    return f"unknown split `{word}`{suggestion}; use {words}, or a word for one such as `eval`"


def _mean_one_split(words: list[str]) -> bool:
    return len({SPLIT_WORDS[word] for word in words}) == 1
