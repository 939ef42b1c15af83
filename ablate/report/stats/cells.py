"""Groups the trials of a study into the arms of contrasts: one level in one combination."""

from collections.abc import Iterable, Sequence

from ablate.report.results import Results, TrialResult
from ablate.report.run import RunResult
from ablate.report.stats.contrast import Arm, Levels, Measure, Term


def changes_random_init(results: Results, factor: str) -> bool:
    """Checks whether the levels of a factor have different random-init encoders, all else equal.

    Scores of such levels start from different values, so their gains are compared instead.
    """
    fingerprints: dict[tuple[Levels, int], set[str]] = {}
    for trial in results.trials:
        key = (get_fixed_levels(results, trial, factor), trial.seed)
        fingerprints.setdefault(key, set()).add(trial.plan.random_init)
    return any(len(different) > 1 for different in fingerprints.values())


def group_cells(results: Results, factor: str) -> dict[Levels, dict[str, list[TrialResult]]]:
    cells: dict[Levels, dict[str, list[TrialResult]]] = {}
    for trial in results.trials:
        if factor in trial.levels:
            cell = cells.setdefault(get_fixed_levels(results, trial, factor), {})
            cell.setdefault(trial.levels[factor], []).append(trial)
    return cells


def build_arm(trials: Sequence[TrialResult], measure: Measure) -> Arm:
    values = {t.seed: t.score if measure == "score" else t.gain for t in trials}
    return Arm(
        values=values,
        num_failed=sum(trial.failed for trial in trials),
        num_lost=sum(trial.has_ended and values[trial.seed] is None for trial in trials),
        settings=collect_settings(trial.run for trial in trials),
        scores={trial.seed: trial.score for trial in trials},
        terms={trial.seed: _list_terms(trial, measure) for trial in trials},
    )


def _list_terms(trial: TrialResult, measure: Measure) -> tuple[Term, ...]:
    score = Term(weight=1, run=trial.run, probe_key=trial.probe_key)
    return (score,) if measure == "score" else (score, *list_random_init_terms(trial, -1))


def list_random_init_terms(trial: TrialResult, weight: float) -> tuple[Term, ...]:
    """Lists the untrained encoders of a trial, whose mean score has the given weight."""
    runs = trial.random_inits
    return tuple(
        Term(weight=weight / len(runs), run=run, probe_key=trial.probe_key) for run in runs
    )


def collect_settings(runs: Iterable[RunResult]) -> frozenset[tuple[str, str]]:
    """Collects what runs were made with: kind of device, precision, ranks, code and versions.

    A setting that a run did not record is left out: a random init has no precision and no ranks.
    """
    collected = set()
    for run in runs:
        record = run.record
        settings: dict[str, object] = {"precision": record.precision, "ranks": record.ranks}
        settings["device"] = (record.device or "").partition(":")[0]
        settings["code"] = run.code
        settings["versions"] = sorted(record.versions.items())
        collected |= {(name, str(value)) for name, value in settings.items() if value}
    return frozenset(collected)


def get_fixed_levels(results: Results, trial: TrialResult, factor: str) -> Levels:
    """Returns the trial's levels of all factors but one.

    A factor that does not apply to the trial counts as at its baseline level: a trial without a
    projector is compared with the one whose projector has the baseline size.
    """
    levels = {**results.plan.baseline, **trial.levels}
    return tuple((name, levels[name]) for name in results.factors if name != factor)


def find_varying_factors(combinations: Iterable[Levels]) -> tuple[str, ...]:
    """Returns the factors whose level differs between combinations."""
    seen: dict[str, set[str]] = {}
    for held in combinations:
        for name, level in held:
            seen.setdefault(name, set()).add(level)
    return tuple(name for name, levels in seen.items() if len(levels) > 1)
