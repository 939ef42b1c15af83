"""Writes the answer to a study's question: learning, factors, and baselines without training."""

from collections.abc import Sequence
from dataclasses import replace

from ablate.core.seeds import DESCRIPTIONS
from ablate.report.pages.claims import format_scope
from ablate.report.pages.table import Row, format_number
from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.robustness import get_differences

MAX_NAMES = 4  # levels listed by name in a sentence
UNTRAINED = ", as untrained encoders are"
IN_EVERY_COMBINATION = " everywhere"  # suffix of a word that holds in all combinations
BELOW_MARGIN = " below the margin"  # suffix of a word for a difference below the margin
ORDER = (
    "better",
    "worse",
    f"better{BELOW_MARGIN}",
    f"worse{BELOW_MARGIN}",
    f"better{IN_EVERY_COMBINATION}",
    f"worse{IN_EVERY_COMBINATION}",
    "differs",
    "equivalent",
    "undecided",
)


def write_lead(results: Results) -> str:
    """Writes what the study did, for a reader who does not know the field."""
    variants, seeds = len(results.variants()), len({trial.seed for trial in results.trials})
    probes = _join_names(list(dict.fromkeys(trial.probe_key[0] for trial in results.trials)))
    tasks = list(dict.fromkeys(name for data in results.plan.data for name in data.tasks))
    recognised = _join_names(tasks) or "the task"
    summaries = [task for data in results.plan.data for task in data.tasks.values()]
    model, scale = "classifier", "0 to 100 points, higher is better"
    if not all(task.classes for task in summaries):  # R2 may be negative
        model, scale = "predictor", "higher points are better"
    each = "" if seeds == 1 else f", each from {seeds} {_name_starts(results)} (seeds)"
    return (
        f"{variants} encoder{'s were' if variants > 1 else ' was'} trained without labels, as "
        f"variant{'s' * (variants > 1)} of one recipe{each}. A simple {model} ({probes}) then "
        f"learned {recognised} from what {'each' if variants > 1 else 'it'} makes of a sound: "
        f"{scale}."
    )


def _name_starts(results: Results) -> str:
    separate = results.plan.separate_seeds
    if separate is None or not separate.held:
        return "random starts"
    return f"draws of the {' and '.join(DESCRIPTIONS[purpose] for purpose in separate.varied)}"


def write_seed_scope(results: Results) -> list[str]:
    """Writes what the verdicts concern if some purposes have the same seed in every trial."""
    separate = results.plan.separate_seeds
    return [f"Every verdict is {separate.scope}."] if separate and separate.scope else []


def write_answer(
    verdicts: Sequence[Verdict], robustness: Sequence[Row] = (), *, score: str = ""
) -> list[str]:
    """Writes which levels and which variants are better, worse, equivalent or undecided.

    Args:
        verdicts: All verdicts of the study.
        robustness: Rows of the robustness table; for factors that are judged by gain, their scores
            are reported in a second sentence.
        score: Name of the study's score, by which levels are equivalent; empty to leave it out.

    Returns:
        The sentences: one per factor, then the variants beside the strongest baselines without
        training. If the baseline is not significantly better than its own random init, the first
        one says so, since encoders that learned nothing are alike, too.
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
    equal = f"{f' by {score}' if score else ''}{'' if learned else UNTRAINED}"
    sentences = []
    for factor in factors:
        of_factor = [v for v in pooled if v.contrast.factor == factor]
        within = [v for v in verdicts if v.contrast.family == "within"]
        sentences.append(f"{factor}: {_write_factor(of_factor, within, equal=equal)}.")
        sentences += _write_scores(
            factor, [r for r in robustness if not r["judged"] and r["factor"] == factor]
        )
    sentences += _write_untrained([v for v in verdicts if v.contrast.family == "untrained"])
    return [_write_learning(unsure, learned=learned), *sentences] if unsure else sentences


def _write_untrained(verdicts: Sequence[Verdict]) -> list[str]:
    """Writes one sentence per baseline without training that is the strongest for some variant."""
    scored = [
        replace(v, contrast=replace(v.contrast, level=v.contrast.level.replace(", ", " + ")))
        for v in verdicts
        if v.estimate.mean is not None
    ]
    return [
        "The strongest baseline without training: "
        f"{_write_factor([v for v in scored if v.contrast.against == name], ())}."
        for name in dict.fromkeys(verdict.contrast.against for verdict in scored)
    ]


def _write_learning(unsure: Sequence[Verdict], *, learned: bool) -> str:
    if learned:
        where = _join_names([format_scope(verdict.contrast) for verdict in unsure])
        return f"With {where} the trained baseline is not shown to be better than its random init."
    return (
        "There is no evidence of learning: the trained baseline is not shown to be better than its "
        "random init. The comparisons below may be between encoders that learned nothing."
    )


def _write_factor(pooled: Sequence[Verdict], within: Sequence[Verdict], *, equal: str = "") -> str:
    """Writes the sentence of one factor; levels with the same word share a clause.

    `equal` qualifies *equivalent*.
    """
    groups: dict[str, list[Verdict]] = {word: [] for word in ORDER}
    sizes: dict[str, list[Verdict]] = {word: [] for word in ORDER}
    for verdict in pooled:
        parts = [v for v in within if _get_level_key(v) == _get_level_key(verdict)]
        word = _get_group(verdict, parts)
        groups[word].append(verdict)
        sizes[word] += parts if word.endswith(IN_EVERY_COMBINATION) else [verdict]
    clause = _write_gain_clause if pooled[0].contrast.measure == "gain" else _write_score_clause
    return "; ".join(
        clause(word.removesuffix(BELOW_MARGIN), group, _format_size(sizes[word]), equal=equal)
        + (", but by less than the margin" if word.endswith(BELOW_MARGIN) else "")
        for word, group in groups.items()
        if group
    )


def _get_group(verdict: Verdict, parts: Sequence[Verdict]) -> str:
    """Returns the word by which a verdict is grouped.

    An interaction in size only, with the same word in every combination, is grouped by that word.
    """
    word = verdict.word.split()[0]
    if verdict.is_below_margin:
        return word + BELOW_MARGIN
    words = [*{part.word for part in parts}]
    return (
        words[0] + IN_EVERY_COMBINATION
        if word == "differs" and words in (["better"], ["worse"])
        else word
    )


def _get_level_key(verdict: Verdict) -> tuple[str, str, str]:
    return verdict.contrast.factor, verdict.contrast.level, verdict.contrast.against


def _write_score_clause(word: str, verdicts: Sequence[Verdict], size: str, *, equal: str) -> str:
    levels, against, several = _join_sides(verdicts)
    side = word.removesuffix(IN_EVERY_COMBINATION)
    if side in ("better", "worse"):
        where = "" if side == word else f" with each {_join_factors(verdicts)},"
        return f"{levels} {'are' if several else 'is'} {side} than {against}{where} by {size}"
    if word == "equivalent":
        return f"{levels} and {against} are equivalent{equal}"
    if word == "differs":
        compare = f"compare{'s' * (not several)}"
        return f"how {levels} {compare} with {against} depends on {_join_factors(verdicts)}"
    return f"{levels} against {against} {'are' if several else 'is'} undecided"


def _write_gain_clause(word: str, verdicts: Sequence[Verdict], size: str, *, equal: str) -> str:
    levels, against, _ = _join_sides(verdicts)
    side = word.removesuffix(IN_EVERY_COMBINATION)
    if side in ("better", "worse"):
        more = "more" if side == "better" else "less"
        where = "" if side == word else f" with each {_join_factors(verdicts)}"
        return f"training adds {size} {more} to {levels} than to {against}{where}"
    if word == "equivalent":
        return f"training adds as much to {levels} as to {against}{equal}"
    if word == "differs":
        depends = f"depends on {_join_factors(verdicts)}"
        return f"whether training adds more to {levels} than to {against} {depends}"
    return f"whether training adds more to {levels} or to {against} is undecided"


def _write_scores(factor: str, rows: Sequence[Row]) -> list[str]:
    """Writes the differences in score of the trained encoders, by all probes and poolings."""
    differences = []
    for row in rows:
        (name, (own, _, _)), *_ = by_probe = [*get_differences(row).items()]
        means = [mean for _, (mean, _, _) in by_probe if mean is not None]
        if own is not None:
            low, high = (format_number(value, signed=True) for value in (min(means), max(means)))
            size, side = format_number(abs(own)), "lower" if own < 0 else "higher"
            others = f"; by all probes and poolings, {low} to {high}" * (low != high)
            compared = f"{row['level']} scores {size} points {side} than {row['against']}"
            differences.append(f"{compared} (by {name}{others})")
    return (
        [f"{factor}, without regard to untrained encoders: {'; '.join(differences)}."]
        if differences
        else []
    )


def _join_sides(verdicts: Sequence[Verdict]) -> tuple[str, str, bool]:
    """Returns the joined levels, the level they are compared with, and if there are several."""
    levels = [verdict.contrast.level for verdict in verdicts]
    return _join_names(levels), verdicts[0].contrast.against, len(levels) > 1


def _format_size(verdicts: Sequence[Verdict]) -> str:
    sizes = [format_number(abs(v.estimate.mean or 0.0)) for v in verdicts]
    low, high = min(sizes, key=float), max(sizes, key=float)
    return f"{low if low == high else f'{low} to {high}'} points"


def _join_factors(verdicts: Sequence[Verdict]) -> str:
    return " and ".join(verdicts[0].contrast.pooled_factors)


def _join_names(names: Sequence[str]) -> str:
    first, more = names[:MAX_NAMES], len(names) - MAX_NAMES
    if more > 1:
        return f"{', '.join(first)} and {more} more"
    if len(names) == 1:
        return names[0]
    return f"{', '.join(names[:-1])} and {names[-1]}"
