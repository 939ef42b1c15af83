"""Lists the caveats of a report: what could invalidate or weaken its verdicts."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ablate.core.records.plan import StudyPlan
from ablate.design import warnings
from ablate.report.pages.claims import format_scope
from ablate.report.pages.clip_sentences import write_clip_share
from ablate.report.pages.methods import get_devices, get_versions, is_probe_only
from ablate.report.pages.readings import warn_of_other_readings
from ablate.report.pages.table import Table
from ablate.report.pages.tables import compute_mean
from ablate.report.results import Results, format_variant, get_factor_column
from ablate.report.stats.clip_noise import estimate_seed_variance
from ablate.report.stats.decisions import Verdict

KIND_WORDS = 3  # run warnings that begin with the same words are of one kind
CEILING = 99.0  # percent; a task that every variant solves this well does not discriminate


def list_caveats(
    results: Results, verdicts: Sequence[Verdict], variants: Table, robustness: Table
) -> list[str]:
    """Lists the caveats of a study.

    Args:
        results: The trials of the study.
        verdicts: The verdicts on all its contrasts.
        variants: Table of `build_variant_table`.
        robustness: Table of `build_robustness_table`.
    """
    return [
        *_warn_of_unfinished_trials(results),
        *warn_of_other_readings(results, verdicts, robustness.rows),
        *_warn_of_uncorrected_looks(results),
        *_warn_of_added_variants(results),
        *_warn_of_unequal_shares(results, variants),
        *_warn_of_unscored_random_inits(results),
        *_warn_of_missing_learning(results, verdicts, variants),
        *_warn_of_ceiling(variants),
        *_warn_of_few_clips(verdicts),
        *_warn_of_mixed_runs(results),
        *_list_run_warnings(results),
        *warn_of_pretrained_test_clips(results.plan),
        *_warn_of_skipped_clips(results),
        *_warn_of_unsuitable_clips(results),
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
    if _count_seeds(results) < 2:
        yield "There is only one seed: the spread between seeds is unknown, so there is no verdict."


def _warn_of_uncorrected_looks(results: Results) -> Iterator[str]:
    """Warns of earlier looks at the results for which p-values are not corrected."""
    if looks := results.plan.uncorrected:
        counts = ", ".join(
            str(look.num_seeds) + (f" (of up to {look.max_seeds})" if look.max_seeds else "")
            for look in looks
        )
        yield (
            f"Earlier reports on this question had other numbers of seeds ({counts}), and "
            "p-values are not corrected for those looks. Before the first look, declare the seeds "
            "that may be added: `seeds: {start: 3, max: 8}`."
        )


def _warn_of_added_variants(results: Results) -> Iterator[str]:
    """Warns of variants that were added after the results of others were known."""
    if added := results.plan.added:
        were = "variants were" if len(added) > 1 else "variant was"
        yield (
            f"{len(added)} {were} added after results of the others were known: "
            f"{'; '.join(added)}. P-values are not corrected for that."
        )


def _warn_of_unequal_shares(results: Results, variants: Table) -> list[str]:
    """Warns of levels with unequal shares of visible or predicted audio."""
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


def _warn_of_unscored_random_inits(results: Results) -> Iterator[str]:
    """Warns if gains use one untrained encoder per seed because some of more have no score."""
    planned = max((1 + len(trial.plan.further_inits) for trial in results.trials), default=1)
    if planned > results.num_random_inits:
        yield (
            f"Not all of the {planned} untrained encoders per seed have been scored, so gains "
            "subtract the score of one, with more noise: run the study again."
        )


def _warn_of_missing_learning(
    results: Results, verdicts: Sequence[Verdict], variants: Table
) -> Iterator[str]:
    has_test = _count_seeds(results) > 1  # one seed shows nothing, as is said above
    unsure = [v for v in verdicts if v.contrast.family == "learning" and v.word != "better"]
    if unsure and has_test:
        where = "; ".join(f"{format_scope(v.contrast)}: {v.word}" for v in unsure)
        yield (
            f"The baseline is not shown to be better than its random init everywhere ({where}). "
            "Without learning, differences between variants mean little."
        )
    alpha = results.plan.report.alpha
    yield from _compare_with_mel_statistics(variants, alpha, has_test=has_test)


def _count_seeds(results: Results) -> int:
    return len({trial.seed for trial in results.trials})


def _compare_with_mel_statistics(variants: Table, alpha: float, *, has_test: bool) -> Iterator[str]:
    """Names the variants that score lower than log-mel statistics, and those not shown to."""
    beaten: dict[bool, list[str]] = {True: [], False: []}  # by whether the test shows it
    for row in variants.rows:
        difference, p = row["over_mel_statistics"], row["over_mel_statistics_p"]
        if difference is not None and difference < 0:
            beaten[p is not None and p < alpha].append(row["variant"])
    for is_significant, names in beaten.items():
        if names:
            text = "every variant" if len(names) == len(variants.rows) else "; ".join(names)
            suffix = ", which the seeds do not show to be more than chance"
            suffix = "" if is_significant else suffix if has_test else " on this seed"
            yield f"Plain log-mel statistics score higher than {text}{suffix}."


def _warn_of_ceiling(variants: Table) -> Iterator[str]:
    """Warns if every variant is close to the best possible score."""
    scores = [row["score"] for row in variants.rows if row["score"] is not None]
    if scores and min(scores) >= CEILING:
        yield f"Every variant scores {CEILING:g} % or more: these tasks do not discriminate."


def _warn_of_few_clips(verdicts: Sequence[Verdict]) -> Iterator[str]:
    pooled = [v.contrast for v in verdicts if v.contrast.family == "pooled"]
    if sentence := write_clip_share([*map(estimate_seed_variance, pooled)]):
        yield sentence


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
    mixed = [
        f"{name} {' / '.join(sorted(versions))}"
        for name, versions in sorted(get_versions(results).items())
        if len(versions) > 1
    ]
    if mixed:
        yield f"The runs mix versions of libraries: {', '.join(mixed)}."
    ranks = sorted({record.ranks for record in records if record.ranks})
    if len(ranks) > 1:
        yield (
            f"The runs were trained by different numbers of ranks ({', '.join(map(str, ranks))}), "
            "which sum numbers in a different order."
        )


def _list_run_warnings(results: Results) -> Iterator[str]:
    """Lists what runs warned of during training, with one example of each kind."""
    by_kind: dict[str, list[str]] = {}
    for trial in results.trials:
        for warning in trial.run.record.warnings:
            if not warning.startswith("collapsed"):  # counted with the unfinished trials
                kind = " ".join(warning.split()[:KIND_WORDS])
                by_kind.setdefault(kind, []).append(warning)
    for warnings_of_kind in by_kind.values():
        count = len(warnings_of_kind)
        begin = "A run warned" if count == 1 else f"Runs gave {count} warnings like this"
        yield f"{begin}: {warnings_of_kind[0]}."


def warn_of_pretrained_test_clips(plan: StudyPlan) -> Iterator[str]:
    """Warns of test clips that were used, unlabelled, in pre-training, as with folds."""
    for data in plan.data:
        folded = [name for name, task in data.tasks.items() if task.folds]
        if folded and not is_probe_only(data):
            verb = "has" if len(folded) == 1 else "have"
            count = data.pretraining_clips
            yield (
                f"Test clips were used, unlabelled, in pre-training: {', '.join(folded)} {verb} "
                f"folds, so encoders were pre-trained, and inputs normalised, on {count:,} of "
                f"{data.clips:,} clips, including those on which probes are tested. Scores on "
                "new clips may be lower."
            )


def _warn_of_skipped_clips(results: Results) -> Iterator[str]:
    for data in results.plan.data:
        if skipped := data.skipped:
            first = "; ".join(f"{path} ({reason})" for path, reason in skipped[:3])
            more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
            yield f"Clips that were skipped: {len(skipped)}. {first}{more}."


def _warn_of_unsuitable_clips(results: Results) -> Iterator[str]:
    """Warns of silent clips, of channels that cancel out, and of what a plan noted about clips."""
    for data in results.plan.data:
        for paths, problem in (
            (data.silent, "Silent clips"),
            (data.cancelled, "Clips with channels of opposite phase, whose mean is almost silent"),
        ):
            if paths:
                more = ", ..." if len(paths) > 3 else ""
                yield f"{problem}: {len(paths)} of {data.clips}. {', '.join(paths[:3])}{more}."
        yield from (f"{note[0].upper()}{note[1:]}." for note in data.notes)
    for note in dict.fromkeys(note for trial in results.plan.trials for note in trial.facts.notes):
        yield f"{note[0].upper()}{note[1:]}."


def _warn_of_uncompared_variants(results: Results) -> Iterator[str]:
    """Warns of variants that are in no contrast."""
    cells, baseline = set(results.variants()), [*results.plan.baseline.values()]
    compared = set()
    for levels in cells:
        for i, level in enumerate(baseline):
            other = (*levels[:i], level, *levels[i + 1 :])
            if other != levels and other in cells:
                compared |= {levels, other}
    uncompared = [format_variant(levels) for levels in results.variants() if levels not in compared]
    if uncompared and len(cells) > 1:
        names, verb = "; ".join(uncompared), "appears" if len(uncompared) == 1 else "appear"
        yield f"{names} {verb} in no contrast: no other variant differs in exactly one factor."


def list_overlap_warnings(results: Results) -> list[str]:
    """Warns of masks whose context overlaps their targets, and of fallback masks."""
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
