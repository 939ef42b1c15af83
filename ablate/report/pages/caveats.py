"""What a reader of a report should be wary of."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ablate.design import warnings
from ablate.report.pages.data_summary import warn_of_pretrained_test_clips
from ablate.report.pages.methods import get_devices, get_versions
from ablate.report.pages.sentences import format_contrast, format_scope
from ablate.report.pages.table import Table
from ablate.report.pages.tables import compute_mean, format_score_name
from ablate.report.results import Results, format_variant, get_factor_column
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.robustness import format_difference

CEILING = 99.0  # percent


def list_caveats(
    results: Results, verdicts: Sequence[Verdict], variants: Table, robustness: Table
) -> list[str]:
    """Lists what could make the verdicts mean less than they seem to."""
    return [
        *_warn_of_unfinished_trials(results),
        *_warn_of_opposite_signs(results, robustness),
        *_warn_of_uncorrected_looks(results),
        *_warn_of_added_variants(results),
        *_warn_of_unequal_shares(results, variants),
        *_warn_of_missing_learning(verdicts, variants),
        *_warn_of_ceiling(variants),
        *_warn_of_mixed_runs(results),
        *warn_of_pretrained_test_clips(results.plan),
        *_warn_of_skipped_clips(results),
        *_warn_of_uncompared_variants(results),
        *list_overlap_warnings(results),
    ]


def _warn_of_unfinished_trials(results: Results) -> Iterator[str]:
    total = len(results.trials)
    counts = {
        "failed": sum(trial.failed for trial in results.trials),
        "collapsed": sum(trial.collapsed for trial in results.trials),
        "without a score for another reason": sum(
            trial.state not in ("done", "failed") and trial.score is None
            for trial in results.trials
        ),
    }
    for what, count in counts.items():
        if count:
            yield f"{count} of {total} trials {what}: see the table of failures."
    if len({trial.seed for trial in results.trials}) < 2:
        yield "There is only one seed: the spread between seeds is unknown, so there is no verdict."


def _warn_of_opposite_signs(results: Results, robustness: Table) -> Iterator[str]:
    """Names the contrasts that another probe or pooling has the other way round."""
    own = format_score_name(results)
    for row in robustness.rows:
        if row["other_sign"]:
            where = f"{row['where']}, by {row['measure']}"
            rests = ", on which the verdict rests" if row["judged"] else ""
            yield (
                f"{format_contrast(row)} ({where}) has the opposite sign with another probe or "
                f"pooling: {row['other_sign']}, but {format_difference(row, own)} by {own}{rests}."
            )


def _warn_of_uncorrected_looks(results: Results) -> Iterator[str]:
    """Warns of looks that no p-value is corrected for: to add seeds after one is a second try."""
    if looks := results.plan.uncorrected:
        counts = ", ".join(
            str(look.num_seeds) + (f" (of up to {look.max_seeds})" if look.max_seeds else "")
            for look in looks
        )
        yield (
            f"A report on this question was written before with other numbers of seeds ({counts}), "
            "and no p-value is corrected for that look. Declare seeds that may be added before the "
            "first look: `seeds: {start: 3, max: 8}`."
        )


def _warn_of_added_variants(results: Results) -> Iterator[str]:
    """Warns of variants that were chosen with the others' results in view."""
    if added := results.plan.added:
        were = "variants were" if len(added) > 1 else "variant was"
        yield (
            f"{len(added)} {were} added after the others had been looked at: {'; '.join(added)}. "
            "No p-value is corrected for that look."
        )


def _warn_of_unequal_shares(results: Results, variants: Table) -> list[str]:
    """Warns where levels saw, or were asked for, unlike amounts of audio."""
    return warnings.share_warnings(
        [
            warnings.MaskShares(
                levels={factor: row[get_factor_column(factor)] for factor in results.factors},
                context=row["context"],
                targets=row["targets"],
            )
            for row in variants.rows
        ]
    )


def _warn_of_missing_learning(verdicts: Sequence[Verdict], variants: Table) -> Iterator[str]:
    unsure = [v for v in verdicts if v.contrast.family == "learning" and v.word != "better"]
    if unsure:
        where = "; ".join(f"{format_scope(v.contrast)}: {v.word}" for v in unsure)
        yield (
            f"The baseline is not shown to beat its own random init everywhere ({where}). Where "
            "nothing was learned, differences between variants say little."
        )
    beaten = [
        row["variant"]
        for row in variants.rows
        if None not in (row["score"], row["mel_statistics"])
        and row["score"] < row["mel_statistics"]
    ]
    if beaten:
        named = "every variant" if len(beaten) == len(variants.rows) else "; ".join(beaten)
        yield f"Plain log-mel statistics score higher than {named}."


def _warn_of_ceiling(variants: Table) -> Iterator[str]:
    """Warns where no variant leaves room for another to be better."""
    scores = [row["score"] for row in variants.rows if row["score"] is not None]
    if scores and min(scores) >= CEILING:
        yield f"Every variant scores {CEILING:g} % or more: such tasks cannot tell them apart."


def _warn_of_mixed_runs(results: Results) -> Iterator[str]:
    records = [trial.run.record for trial in results.trials]
    codes = Counter(trial.run.code or "unknown" for trial in results.trials if trial.run.exists)
    if len(codes) > 1:
        counts = ", ".join(f"{code} ({count} trials)" for code, count in sorted(codes.items()))
        yield f"The trials were run by {len(codes)} versions of the code: {counts}."
    if any(record.code is not None and record.code.dirty for record in records):
        yield "Some runs were made by code with uncommitted changes."
    planned = [trial.plan.facts.parts for trial in results.trials]
    yield from warnings.code_warnings([*planned, *(record.parts for record in records)])
    devices = sorted(get_devices(results))
    if len(devices) > 1:
        yield f"The runs mix devices or precisions: {', '.join(devices)}."
    mixed = {name: of for name, of in get_versions(results).items() if len(of) > 1}
    if mixed:
        told = ", ".join(f"{name} {' / '.join(sorted(of))}" for name, of in sorted(mixed.items()))
        yield f"The runs mix versions of libraries: {told}."
    ranks = sorted({record.ranks for record in records if record.ranks})
    if len(ranks) > 1:
        yield (
            f"The runs were trained by different numbers of ranks ({', '.join(map(str, ranks))}), "
            "which add up numbers in another order."
        )


def _warn_of_skipped_clips(results: Results) -> Iterator[str]:
    for data in results.plan.data:
        if skipped := data.skipped:
            first = "; ".join(f"{path} ({reason})" for path, reason in skipped[:3])
            more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
            yield f"Unreadable clips that were left out: {len(skipped)}. {first}{more}."


def _warn_of_uncompared_variants(results: Results) -> Iterator[str]:
    """Names the variants that share all factors but one with no other: no contrast has them."""
    cells, baseline = set(results.variants()), [*results.plan.baseline.values()]
    reached = set()
    for levels in cells:
        for i, level in enumerate(baseline):
            other = (*levels[:i], level, *levels[i + 1 :])
            if other != levels and other in cells:
                reached |= {levels, other}
    lone = [format_variant(levels) for levels in results.variants() if levels not in reached]
    if lone and len(cells) > 1:
        names, verb = "; ".join(lone), "appears" if len(lone) == 1 else "appear"
        yield f"{names} {verb} in no contrast: no other variant differs in one factor alone."


def list_overlap_warnings(results: Results) -> list[str]:
    """Warns of masks that show what they ask for, and of those that a guard had to change."""
    return warnings.overlap_warnings(
        [
            warnings.MaskOverlap(
                variant=format_variant(levels),
                overlap=compute_mean(trial.plan.facts.overlap for trial in trials),
                forced_overlap=compute_mean(trial.plan.facts.forced_overlap for trial in trials),
                changed=compute_mean(trial.metrics.get("fallback_fraction") for trial in trials),
            )
            for levels, trials in results.variants().items()
        ]
    )
