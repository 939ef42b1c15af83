"""The answer to a study's question: whether anything was learned, then a sentence a factor."""

from collections.abc import Sequence

from ablate.report.pages.sentences import format_contrast, format_scope
from ablate.report.pages.table import Row, format_number
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.robustness import get_mean_differences

MAX_NAMES = 4  # of levels in a row; a reader wants no list of twenty
UNTRAINED = ", as untrained encoders are"
IN_EVERY_COMBINATION = (
    " everywhere"  # behind the word that all combinations share where their sizes differ
)
ORDER = (
    "better",
    "worse",
    f"better{IN_EVERY_COMBINATION}",
    f"worse{IN_EVERY_COMBINATION}",
    "differs",
    "equivalent",
    "undecided",
)


def write_answer(verdicts: Sequence[Verdict], robustness: Sequence[Row] = ()) -> list[str]:
    """Says of every factor, in a sentence, which levels are better, worse, equivalent or undecided.

    Of one that is judged by what training adds, the rows of `robustness` tell the scores as well.
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
    told = []
    for factor in factors:
        of = [v for v in pooled if v.contrast.factor == factor]
        within = [v for v in verdicts if v.contrast.family == "within"]
        told.append(f"{factor}: {_write_factor(of, within, learned=learned)}.")
        told += _write_scores(
            factor, [r for r in robustness if not r["judged"] and r["factor"] == factor]
        )
    return [_write_learning(unsure, learned=learned), *told] if unsure else told


def _write_learning(unsure: Sequence[Verdict], *, learned: bool) -> str:
    if learned:
        where = _join_names([format_scope(verdict.contrast) for verdict in unsure])
        return f"With {where} the trained baseline is not shown to beat its own random init."
    return (
        "Nothing is shown to have been learned: the trained baseline is not shown to beat its own "
        "random init. What follows compares encoders that may know no more than untrained ones."
    )


def _write_factor(pooled: Sequence[Verdict], within: Sequence[Verdict], *, learned: bool) -> str:
    """Groups what is said of a factor's levels by the words that say it."""
    groups: dict[str, list[Verdict]] = {word: [] for word in ORDER}
    sizes: dict[str, list[Verdict]] = {word: [] for word in ORDER}
    for verdict in pooled:
        parts = [v for v in within if _get_level_key(v) == _get_level_key(verdict)]
        word = _get_group(verdict, parts)
        groups[word].append(verdict)
        sizes[word] += parts if word.endswith(IN_EVERY_COMBINATION) else [verdict]
    clause = _write_gain_clause if pooled[0].contrast.measure == "gain" else _write_score_clause
    return "; ".join(
        clause(word, of, _format_size(sizes[word]), learned=learned)
        for word, of in groups.items()
        if of
    )


def _get_group(verdict: Verdict, parts: Sequence[Verdict]) -> str:
    """Returns the group of a verdict. What only its size depends on a combination has a side."""
    word = verdict.word.split()[0]
    [*said] = {part.word for part in parts}
    return (
        said[0] + IN_EVERY_COMBINATION
        if word == "differs" and said in (["better"], ["worse"])
        else word
    )


def _get_level_key(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.contrast.factor, verdict.contrast.level, verdict.contrast.against


def _write_score_clause(word: str, verdicts: Sequence[Verdict], size: str, *, learned: bool) -> str:
    levels, against, several = _join_sides(verdicts)
    side = word.removesuffix(IN_EVERY_COMBINATION)
    if side in ("better", "worse"):
        where = "" if side == word else f" with each {_join_factors(verdicts)},"
        return f"{levels} {'are' if several else 'is'} {side} than {against}{where} by {size}"
    if word == "equivalent":
        return f"{levels} and {against} are equivalent{'' if learned else UNTRAINED}"
    if word == "differs":
        compare = f"compare{'s' * (not several)}"
        return f"how {levels} {compare} with {against} depends on {_join_factors(verdicts)}"
    return f"{levels} against {against} {'are' if several else 'is'} undecided"


def _write_gain_clause(word: str, verdicts: Sequence[Verdict], size: str, *, learned: bool) -> str:
    levels, against, _ = _join_sides(verdicts)
    side = word.removesuffix(IN_EVERY_COMBINATION)
    if side in ("better", "worse"):
        more = "more" if side == "better" else "less"
        where = "" if side == word else f" with each {_join_factors(verdicts)}"
        return f"training adds {size} {more} to {levels} than to {against}{where}"
    if word == "equivalent":
        return f"training adds as much to {levels} as to {against}{'' if learned else UNTRAINED}"
    if word == "differs":
        depends = f"depends on {_join_factors(verdicts)}"
        return f"whether training adds more to {levels} than to {against} {depends}"
    return f"whether training adds more to {levels} or to {against} is undecided"


def _write_scores(factor: str, rows: Sequence[Row]) -> list[str]:
    """Says what the trained encoders end with, by the score and by all probes and poolings."""
    told = []
    for row in rows:
        (name, own), *_ = by_probe = [*get_mean_differences(row).items()]
        known = [mean for _, mean in by_probe if mean is not None]
        if own is not None:
            told_own, low, high = (
                format_number(value, signed=True) for value in (own, min(known), max(known))
            )
            ends = f"{low} to {high}" if low != high else low
            told.append(
                f"{format_contrast(row)} is {told_own} by {name}, and {ends} over all probes and "
                "poolings"
            )
    return [f"{factor}, by the trained encoders' scores: {'; '.join(told)}."] if told else []


def _join_sides(verdicts: Sequence[Verdict]) -> tuple[str, str, bool]:
    """Names the levels and what they are held against; tells whether there are several."""
    levels = [verdict.contrast.level for verdict in verdicts]
    return _join_names(levels), verdicts[0].contrast.against, len(levels) > 1


def _format_size(verdicts: Sequence[Verdict]) -> str:
    sizes = [format_number(abs(v.estimate.mean or 0.0)) for v in verdicts]
    low, high = min(sizes, key=float), max(sizes, key=float)
    return f"{low if low == high else f'{low} to {high}'} points"


def _join_factors(verdicts: Sequence[Verdict]) -> str:
    return " and ".join(verdicts[0].contrast.pooled_factors)


def _join_names(names: Sequence[str]) -> str:
    shown, more = names[:MAX_NAMES], len(names) - MAX_NAMES
    if more > 1:
        return f"{', '.join(shown)} and {more} more"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
