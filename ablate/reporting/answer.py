"""The answer to a study's question, in one sentence for each factor."""

from collections.abc import Sequence

from ablate.reporting.rendering import number
from ablate.reporting.verdicts import Verdict

MOST_NAMES = 4  # of levels in a row; a reader wants no list of twenty
ORDER = ("better", "worse", "differs", "equivalent", "undecided")


def answer(verdicts: Sequence[Verdict]) -> list[str]:
    """Says of every factor which of its levels are better, worse, equivalent or undecided."""
    pooled = [verdict for verdict in verdicts if verdict.contrast.family == "pooled"]
    if not pooled:
        return ["There is one variant, and nothing to compare it with."]
    if all(verdict.estimate.mean is None for verdict in pooled):
        return ["No contrast has a score on both sides yet."]
    factors = dict.fromkeys(verdict.contrast.factor for verdict in pooled)
    return [
        _of_factor(factor, [v for v in pooled if v.contrast.factor == factor]) for factor in factors
    ]


def _of_factor(factor: str, verdicts: Sequence[Verdict]) -> str:
    words = {word: [v for v in verdicts if v.word.split()[0] == word] for word in ORDER}
    clauses = [_clause(word, of) for word, of in words.items() if of]
    return f"{factor}: {'; '.join(clauses)}."


def _clause(word: str, verdicts: Sequence[Verdict]) -> str:
    against = verdicts[0].contrast.against
    levels, several = _names([v.contrast.level for v in verdicts]), len(verdicts) > 1
    if word in ("better", "worse"):
        sizes = [number(abs(v.estimate.mean or 0.0)) for v in verdicts]
        low, high = min(sizes, key=float), max(sizes, key=float)
        size = low if low == high else f"{low} to {high}"
        return f"{levels} {'are' if several else 'is'} {word} than {against} by {size} points"
    if word == "equivalent":
        return f"{levels} and {against} are equivalent"
    verb = "are" if several else "is"
    if word == "differs":
        others = " and ".join(verdicts[0].contrast.others)
        return f"how {levels} compare{'s' * (not several)} with {against} depends on {others}"
    return f"{levels} against {against} {verb} undecided"


def _names(names: Sequence[str]) -> str:
    shown, more = names[:MOST_NAMES], len(names) - MOST_NAMES
    if more > 1:
        return f"{', '.join(shown)} and {more} more"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
