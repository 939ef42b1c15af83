"""Formats verdicts: rows of the contrast tables, and sentences for the top of the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from ablate.report.pages.claims import (
    format_further_seeds,
    format_opposite_score,
    format_scope,
    format_study_seeds,
    write_claim,
)
from ablate.report.pages.table import (
    DASH,
    MINUS,
    PLUS_MINUS,
    Column,
    Row,
    Table,
    format_number,
    format_p,
    interval_cell,
    number_cell,
    p_cell,
    text_cell,
)
from ablate.report.stats.clip_noise import estimate_clip_error
from ablate.report.stats.decision_rules import format_coverage
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.notes import BELOW_MARGIN
from ablate.report.stats.statistics import compute_equivalence_interval


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A verdict as text."""

    word: str  # better, worse, equivalent, undecided or differs
    claim: str  # what was compared and the outcome
    numbers: str  # difference, interval, p-values, seeds and notes

    def __str__(self) -> str:
        return f"{self.claim} ({self.numbers})."


def format_contrast(row: Row) -> str:
    """Formats a contrast by its two levels: `block - random`, with a true minus sign."""
    return f"{row['level']} {MINUS} {row['against']}"


ABSOLUTE = ("learning", "untrained")  # families that compare no two variants
CONTRAST_COLUMNS = (
    Column(head="contrast", format=format_contrast, text=True),
    Column(head="where", format=text_cell("where"), text=True),
)


def build_contrast_table(verdicts: Sequence[Verdict]) -> Table:
    """Builds the table of contrasts between variants: pooled ones, then within a combination."""
    return _build_table(
        [verdict for verdict in verdicts if verdict.contrast.family not in ABSOLUTE],
        name="contrasts",
        title="Contrasts",
        caption="Differences in points, paired by pre-training seed; pooled ones are first "
        "averaged over combinations within each seed. Intervals are uncorrected. P-values are "
        "Holm-corrected, separately for pooled contrasts and for those within a combination; the "
        "latter are at least as large as the pooled contrast and its interaction allow. "
        "Measure: gain is each arm minus its own random init, used if the factor changes it. g: "
        "Hedges' effect size, the difference in standard deviations over seeds. Error from: whose "
        "residuals give the error, those of the two levels or of more levels of the factor. Seed "
        "r: the correlation of the two arms over seeds. Detectable: the smallest difference that "
        "this number of seeds detects with 80 % power, at the observed spread and the strictest "
        "level of the family; within a combination also at the gate of the pooled contrast. Other "
        "clips: how far another draw of test clips could move the difference of these encoders, at "
        "the coverage of the interval; clips of one group or recording are drawn together.",
    )


def build_learning_table(verdicts: Sequence[Verdict]) -> Table:
    """Builds the table of the trained encoder against itself at random init."""
    return _build_table(
        [verdict for verdict in verdicts if verdict.contrast.family == "learning"],
        name="learning",
        title="Did it learn?",
        caption="The trained baseline minus the same encoder at random init, paired by seed; "
        "p-values are Holm-corrected over this table.",
    )


def build_untrained_table(verdicts: Sequence[Verdict]) -> Table:
    """Builds the table of every variant against its strongest baseline without training."""
    return _build_table(
        [verdict for verdict in verdicts if verdict.contrast.family == "untrained"],
        name="untrained",
        title="Against baselines without training",
        caption="Every variant minus the strongest of the baselines that need no training, by the "
        "same probe, paired by seed: its own random init, pooled alike, and statistics of the "
        "log-mel bands, each frame a token: with the poolings of the study; `mean_std`; `deltas`; "
        "`segments4`; and `modulation`, the magnitudes of 16 modulation frequencies. The strongest "
        "one is chosen on the same test clips, which favours the baseline. P-values are "
        "Holm-corrected over this table.",
    )


def write_sentences(verdicts: Sequence[Verdict]) -> list[Sentence]:
    """Writes one sentence per contrast, except those within a combination.

    The sentence of a pooled contrast that differs by combination lists the verdicts within each.
    """
    written = []
    for verdict in verdicts:
        contrast = verdict.contrast
        if contrast.family == "pooled":
            parts = [
                other
                for other in verdicts
                if other.contrast.family == "within"
                and (other.contrast.factor, other.contrast.level)
                == (contrast.factor, contrast.level)
            ]
            written.append(_write_sentence(verdict, parts))
        elif contrast.family != "within":
            written.append(_write_sentence(verdict, []))
    return written


def format_verdict(verdict: Verdict) -> str:
    """Formats the word; for an undecided contrast, adds how many seeds might settle it."""
    if verdict.is_below_margin:
        return f"{verdict.word}, but {BELOW_MARGIN}"
    if verdict.num_further_seeds is not None:
        return f"{verdict.word}: {format_further_seeds(verdict)}"
    if verdict.study_seeds is not None:
        return f"{verdict.word}: a new study needs {format_study_seeds(verdict.study_seeds)}"
    return verdict.word


def _write_sentence(verdict: Verdict, parts: Sequence[Verdict]) -> Sentence:
    return Sentence(
        word=verdict.word.split()[0],
        claim=write_claim(verdict, parts),
        numbers=_format_numbers(verdict),
    )


def _format_numbers(verdict: Verdict) -> str:
    contrast, estimate = verdict.contrast, verdict.estimate
    numbers = []
    if estimate.mean is not None and verdict.word not in ("better", "worse"):
        numbers.append(f"difference {format_number(estimate.mean, signed=True)}")
    if estimate.low is not None and estimate.high is not None:
        covered = format_coverage(verdict.interval_alpha)
        numbers.append(
            f"{covered} interval {format_number(estimate.low)} to {format_number(estimate.high)}"
        )
    numbers += _format_equivalence_interval(verdict)
    if verdict.p is not None:
        numbers.append(f"Holm p {format_p(verdict.p)}")
    if verdict.p_interaction is not None:
        numbers.append(f"interaction p {format_p(verdict.p_interaction)}")
    if contrast.measure == "gain":
        numbers.append("measured by gain over random init")
    planned = contrast.num_planned_seeds
    seeds = f"{_format_seed_count(estimate.n, planned)} seed{'s' * (planned != 1)}"
    numbers.append(f"{seeds}, {format_scope(contrast)}" if contrast.pooled_factors else seeds)
    return "; ".join([*numbers, *verdict.notes])


def _format_equivalence_interval(verdict: Verdict) -> list[str]:
    """Formats the interval that decides *equivalent*, which is narrower than the one shown."""
    alpha = verdict.interval_alpha
    bounds = compute_equivalence_interval(verdict.estimate, alpha=alpha)
    if verdict.word != "equivalent" or bounds is None:
        return []
    low, high = map(format_number, bounds)
    return [f"{format_coverage(2 * alpha)} interval of the test of equivalence {low} to {high}"]


def _format_seed_count(n: int, planned: int) -> str:
    return str(n) if n == planned else f"{n} of {planned}"


def _build_table(verdicts: Sequence[Verdict], *, name: str, title: str, caption: str) -> Table:
    levels = [verdict.interval_alpha for verdict in verdicts]
    interval = f"{format_coverage(*levels)} interval" if levels else "interval"
    has_gains = any(verdict.contrast.measure == "gain" for verdict in verdicts)
    return Table(
        name=name,
        title=title,
        caption=caption,
        columns=(
            *CONTRAST_COLUMNS,
            Column(head="verdict", format=text_cell("verdict"), text=True),
            Column(head="difference", format=number_cell("difference", signed=True)),
            Column(head=interval, format=interval_cell("difference")),
            Column(head="p", format=p_cell("p_holm")),
            Column(head="seeds", format=lambda row: _format_seed_count(row["n"], row["planned"])),
            Column(head="measure", format=text_cell("measure"), text=True, brief=has_gains),
            Column(head="p equivalent", format=p_cell("p_equivalent_holm"), brief=False),
            Column(head="p interaction", format=p_cell("p_interaction"), brief=False),
            Column(head="g", format=number_cell("effect_size", 2, signed=True), brief=False),
            Column(head="error from", format=_format_error_source, text=True, brief=False),
            Column(head="seed r", format=number_cell("seed_correlation", 2), brief=False),
            Column(head="detectable", format=number_cell("detectable"), brief=False),
            Column(head="other clips", format=_format_clip_error, text=False, brief=False),
            Column(head="notes", format=text_cell("notes"), text=True, brief=False),
        ),
        rows=tuple(map(_build_row, verdicts)),
    )


def _format_error_source(row: Row) -> str:
    levels = row["residual_levels"]
    return DASH if levels is None else "own differences" if levels == 2 else f"{levels} levels"


def _format_clip_error(row: Row) -> str:
    error = row["other_clips"]
    return DASH if error is None else f"{PLUS_MINUS}{format_number(error)}"


def _build_row(verdict: Verdict) -> dict[str, object]:
    contrast, estimate = verdict.contrast, verdict.estimate
    clips = estimate_clip_error(contrast)
    opposite = [f"by score {text}"] if (text := format_opposite_score(verdict)) else []
    return {
        "family": contrast.family,
        "factor": contrast.factor,
        "level": contrast.level,
        "against": contrast.against,
        "where": format_scope(contrast),
        "measure": contrast.measure,
        "n": estimate.n,
        "planned": contrast.num_planned_seeds,
        "difference": estimate.mean,
        "difference_low": estimate.low,
        "difference_high": estimate.high,
        "interval_alpha": verdict.interval_alpha,
        "sd": estimate.sd,
        "effect_size": verdict.effect_size,
        "p": estimate.p,
        "p_holm": verdict.p,
        "p_equivalent_holm": verdict.p_equivalent,
        "p_interaction": verdict.p_interaction,
        "seed_correlation": verdict.seed_correlation,
        "residual_levels": estimate.law and estimate.law.num_levels,
        "detectable": verdict.detectable,
        "other_clips": clips and clips.compute_half_width(verdict.interval_alpha),
        "verdict": format_verdict(verdict),
        "verdict_without_failures": verdict.unrestricted_word,
        "look": verdict.decided_at,
        "notes": "; ".join([*verdict.notes, *opposite]),
    }
