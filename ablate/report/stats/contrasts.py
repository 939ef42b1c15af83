"""Lists the contrasts of a study: which levels are compared, and within which combinations.

Each level is compared with the baseline level of its own factor, within every combination of the
other factors. A single baseline variant for all would confound the factors: *block on strips
against random on squares* mostly shows the effect of the patches. If a factor changes the
random-init encoder (patchifier, front end, encoder), the arms are compared by their gain, which is
the score minus that of the same encoder at random init: the mean over several untrained encoders,
each used for one seed only, so that gains of different seeds stay independent.
"""

from collections.abc import Iterator, Sequence
from statistics import fmean

from ablate.report.results import PENDING_STATES, Results, TrialResult, format_variant, get_levels
from ablate.report.stats.cells import (
    build_arm,
    changes_random_init,
    collect_settings,
    find_varying_factors,
    group_cells,
    list_random_init_terms,
)
from ablate.report.stats.contrast import Arm, ArmPair, Contrast, Levels, Measure


def list_contrasts(results: Results) -> list[Contrast]:
    """Lists all contrasts of a study by family: pooled, within, learning, untrained, confirmation.

    If two levels are compared in a single combination, there is a pooled contrast only.
    """
    contrasts = list(list_factor_contrasts(results, gains=True))
    pooled = [contrast for contrast in contrasts if contrast.family == "pooled"]
    within = [contrast for contrast in contrasts if contrast.family == "within"]
    return [
        *pooled,
        *within,
        *_list_learning_contrasts(results),
        *_list_untrained_contrasts(results),
        *_list_confirmation_contrasts(results),
    ]


def list_score_contrasts(results: Results) -> list[Contrast]:
    """Lists the pooled contrasts that are judged by gain, compared by score instead.

    The gain is what training adds; to choose an encoder, the final score matters as well.
    """
    contrasts = list_factor_contrasts(results, gains=False)
    return [c for c in contrasts if c.family == "pooled" and changes_random_init(results, c.factor)]


def list_factor_contrasts(results: Results, *, gains: bool) -> Iterator[Contrast]:
    """Yields the pooled contrasts of all factors, each followed by those within a combination.

    With `gains`, factors that change the random-init encoder are compared by gain.
    """
    for factor, levels in results.plan.factors.items():
        against = results.plan.baseline[factor]
        measure: Measure = "gain" if gains and changes_random_init(results, factor) else "score"
        cells = {
            held: {level: build_arm(trials, measure) for level, trials in cell.items()}
            for held, cell in group_cells(results, factor).items()
        }
        for level in (level for level in levels if level != against):
            pairs = {
                held: ArmPair(cell[level], cell[against])
                for held, cell in cells.items()
                if level in cell and against in cell
            }
            if not pairs:
                continue  # no combination of this design has both levels
            rest = [name for name in levels if name not in (level, against)]
            yield Contrast(
                family="pooled",
                factor=factor,
                level=level,
                against=against,
                measure=measure,
                fixed_levels=next(iter(pairs)) if len(pairs) == 1 else (),
                pooled_factors=find_varying_factors(pairs),
                pairs=tuple(pairs.values()),
                others={
                    name: tuple(cells[held][name] for held in pairs)
                    for name in rest
                    if all(name in cells[held] for held in pairs)
                },
            )
            for held, pair in pairs.items():
                if len(pairs) > 1:  # with a single combination, the pooled contrast is the same
                    yield Contrast(
                        family="within",
                        factor=factor,
                        level=level,
                        against=against,
                        measure=measure,
                        fixed_levels=held,
                        pairs=(pair,),
                        others={name: (cells[held][name],) for name in rest if name in cells[held]},
                    )


def _list_learning_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields the contrasts of the trained baseline encoder with itself at random init."""
    baseline = results.plan.baseline
    varied = [factor for factor in results.factors if changes_random_init(results, factor)]
    fixed = [factor for factor in results.factors if factor not in varied]
    combinations: dict[Levels, list[TrialResult]] = {}
    for trial in results.trials:
        if all(trial.levels.get(factor, baseline[factor]) == baseline[factor] for factor in fixed):
            held = tuple((f, trial.levels[f]) for f in varied if f in trial.levels)
            combinations.setdefault(held, []).append(trial)
    for held, trials in combinations.items():
        random_init = Arm(
            values={trial.seed: trial.random_init_score for trial in trials},
            num_failed=sum(trial.random_init.state == "failed" for trial in trials),
            num_lost=sum(
                trial.random_init_score is None and trial.random_init.state not in PENDING_STATES
                for trial in trials
            ),
            settings=collect_settings(run for trial in trials for run in trial.random_inits),
            terms={trial.seed: list_random_init_terms(trial, 1) for trial in trials},
        )
        yield Contrast(
            family="learning",
            factor="",
            level="trained",
            against="random init",
            measure="score",
            fixed_levels=held,
            pairs=(ArmPair(build_arm(trials, "score"), random_init),),
        )


def _list_untrained_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields each variant against its strongest baseline without training, by the same probe.

    The strongest one is chosen by its mean over the same test scores, which can only make it look
    stronger than it is. Log-mel statistics have no random numbers but those of the probe.
    """
    for levels, trials in results.variants().items():
        strongest = find_strongest_baseline(trials)
        if strongest is None:
            continue
        yield Contrast(
            family="untrained",
            factor="",
            level=format_variant(levels),
            against=strongest,
            measure="score",
            pairs=(
                ArmPair(
                    build_arm(trials, "score"),
                    Arm(
                        values={t.seed: t.untrained_scores.get(strongest) for t in trials},
                        num_failed=0,
                        num_lost=0,
                        settings=frozenset(),
                    ),
                ),
            ),
        )


def find_strongest_baseline(trials: Sequence[TrialResult]) -> str | None:
    """Finds the baseline without training with the highest mean score over trials.

    A baseline that has not been scored for some trials counts by the others. None if there is none.
    """
    values: dict[str, list[float]] = {}
    for trial in trials:
        for name, score in trial.untrained_scores.items():
            values.setdefault(name, []).append(score)
    return max(values, key=lambda name: fmean(values[name]), default=None)


def _list_confirmation_contrasts(results: Results) -> Iterator[Contrast]:
    """Yields each selected variant against the baseline, on seeds not used for the selection."""
    baseline = results.plan.baseline
    variants: dict[tuple[str, ...], list[TrialResult]] = {}
    against: list[TrialResult] = []
    for trial in results.confirmation_trials:
        # a factor that does not apply to a trial counts as at its baseline level
        is_baseline = all(
            trial.levels.get(factor, level) == level for factor, level in baseline.items()
        )
        levels = get_levels(trial, results.factors)
        (against if is_baseline else variants.setdefault(levels, [])).append(trial)
    for levels, trials in variants.items() if against else ():
        varied = [
            f
            for f, level in zip(results.factors, levels, strict=True)
            if level not in (baseline[f], "-")
        ]
        by_gain = any(changes_random_init(results, factor) for factor in varied)
        measure: Measure = "gain" if by_gain else "score"
        yield Contrast(
            family="confirmation",
            factor="",
            level=format_variant(levels),
            against=format_variant(tuple(baseline.values())),
            measure=measure,
            pairs=(ArmPair(build_arm(trials, measure), build_arm(against, measure)),),
        )
