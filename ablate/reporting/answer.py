"""The answer to a study's question: whether anything was learned, then a sentence a factor."""

from collections.abc import Sequence

from ablate.reporting.rendering import number
from ablate.reporting.verdicts import Verdict
from ablate.reporting.wording import place

MOST_NAMES = 4  # of levels in a row; a reader wants no list of twenty
ORDER = ("better", "worse", "differs", "equivalent", "undecided")


def answer(verdicts: Sequence[Verdict]) -> list[str]:
    """Says of every factor, in a sentence, which levels are better, worse, equivalent or undecided.

    Where the baseline is not shown to beat its own random init, that is said first: encoders that
    learned nothing are alike too.
    """
    pooled = [verdict for verdict in verdicts if verdict.contrast.family == "pooled"]
    if not pooled:
        return ["There is only one variant, so there is nothing to compare."]
    if all(verdict.estimate.mean is None for verdict in pooled):
        return ["No contrast has a score on both sides yet."]
    learning = [v for v in verdicts if v.contrast.family == "learning" and v.estimate.n]
    unsure = [verdict for verdict in learning if verdict.word != "better"]
    factors = dict.fromkeys(verdict.contrast.factor for verdict in pooled)
    learned = len(unsure) < len(learning) or not learning
    told = [
        _of_factor(factor, [v for v in pooled if v.contrast.factor == factor], learned=learned)
        for factor in factors
    ]
    return [_not_learned(unsure, learned=learned), *told] if unsure else told


def _not_learned(unsure: Sequence[Verdict], *, learned: bool) -> str:
    if learned:
        where = _names([place(verdict.contrast) for verdict in unsure])
        return f"With {where} the trained baseline is not shown to beat its own random init."
    return (
        "Nothing is shown to have been learned: the trained baseline is not shown to beat its own "
        "random init. What follows compares encoders that may know no more than untrained ones."
    )


def _of_factor(factor: str, verdicts: Sequence[Verdict], *, learned: bool) -> str:
    words = {word: [v for v in verdicts if v.word.split()[0] == word] for word in ORDER}
    clauses = [_clause(word, of, learned=learned) for word, of in words.items() if of]
    measured = " (by gain over its own random init)" * (verdicts[0].contrast.measure == "gain")
    return f"{factor}{measured}: {'; '.join(clauses)}."


def _clause(word: str, verdicts: Sequence[Verdict], *, learned: bool) -> str:
    against = verdicts[0].contrast.against
    levels, several = _names([v.contrast.level for v in verdicts]), len(verdicts) > 1
    if word in ("better", "worse"):
        sizes = [number(abs(v.estimate.mean or 0.0)) for v in verdicts]
        low, high = min(sizes, key=float), max(sizes, key=float)
        size = low if low == high else f"{low} to {high}"
        return f"{levels} {'are' if several else 'is'} {word} than {against} by {size} points"
    if word == "equivalent" and not learned:
        return f"{levels} and {against} are equivalent, as untrained encoders are"
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
