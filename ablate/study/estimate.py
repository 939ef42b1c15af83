"""Estimates what a study will cost and which differences it can detect, before it is run."""

import math
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from statistics import fmean, variance

from ablate.config.sections import Confirm, Limits
from ablate.core.cpu_features import has_bf16
from ablate.core.records.plan import StudyPlan
from ablate.runs import store
from ablate.runs.pending import PendingWork
from ablate.runs.preview import estimate_kept_bytes
from ablate.study.clip_noise import describe_clip_noise
from ablate.study.exit_codes import OverBudgetError
from ablate.study.interim_looks import count_verdict_seeds

CLEAR_DIFFERENCE = 2.0  # standard deviations; a confirmation should find it
MORE_SEEDS = 2  # the estimate also names the difference that this many more seeds detect
MIN_DIM_OF_BF16 = 128  # measured: docs/performance.md
MIN_SEEDS = 2  # fewer have no standard deviation


def format_estimate(plan: StudyPlan, work: PendingWork, runs: Path) -> list[str]:
    """Describes the hours that are left, if known, and the differences that can be detected."""
    lines = []
    if work.trainings and (hours := _estimate_hours(plan, work, runs)) is not None:
        lines.append(f"about {hours:.2g} hours of training left, going by its finished trials")
    return [*lines, *_describe_power(plan, runs)]


def format_precision(plan: StudyPlan, num_gpus: int) -> Iterator[str]:
    """Describes how many trials would train faster in bf16 on the CPUs of this machine."""
    in_fp32 = [
        trial
        for trial in plan.trials
        if trial.settings.get("optimizer", {}).get("precision") == "fp32"
        and trial.settings.get("encoder", {}).get("dim", 0) >= MIN_DIM_OF_BF16
    ]
    if in_fp32 and not num_gpus and has_bf16():
        yield (
            f"{len(in_fp32)} trials train in fp32; on this machine's CPUs, encoders of "
            f"{MIN_DIM_OF_BF16} dimensions or more are faster with `optimizer.precision: bf16`, "
            "which changes results"
        )


def _estimate_hours(plan: StudyPlan, work: PendingWork, runs: Path) -> float | None:
    """Estimates the remaining hours of training by the mean of the finished trials.

    The sum over all workers, without scoring; None before any trial has finished.
    """
    statuses = [store.read_status(runs / trial.fingerprint) for trial in plan.trials]
    seconds = [status.seconds for status in statuses if status.state == "done" and status.seconds]
    return len(work.trainings) * fmean(seconds) / 3600 if seconds else None


def check_limits(
    limits: Limits, plan: StudyPlan, work: PendingWork, runs: Path, *, hours: float | None = None
) -> None:
    """Checks the remaining work against the limits of a study.

    Args:
        limits: upper bounds; None means no bound.
        plan: the study.
        work: what is left to run.
        runs: folder of the runs.
        hours: measured by a timed dry run. By default, they are estimated from finished trials, and
            not checked before any has finished.

    Raises:
        OverBudgetError: the study would exceed a limit.
    """
    needs = {
        "trials": float(len(work.trainings)),
        "hours": _estimate_hours(plan, work, runs) if hours is None else hours,
        "disk_gb": estimate_kept_bytes(plan.trials) / 1e9,
    }
    problems = [
        f"`limits.{name}` is {limit:g}, but the study would take {value:.3g}"
        for name, value in needs.items()
        if (limit := getattr(limits, name)) is not None and value is not None and value > limit
    ]
    if problems:
        raise OverBudgetError("; ".join(problems))


def _describe_power(plan: StudyPlan, runs: Path) -> list[str]:
    """Describes the smallest difference that these seeds can detect, and that some more could."""
    from ablate.report.stats.decision_rules import compute_look_alpha, read_looks
    from ablate.report.stats.power import compute_detectable_difference  # imports scipy

    seeds = count_verdict_seeds(plan)
    family = sum(len(levels) - 1 for levels in plan.factors.values())
    levels = min((len(names) for names in plan.factors.values() if len(names) > 1), default=2)
    if seeds < MIN_SEEDS or not family:
        return []
    spread, alpha, looks = compute_spread(plan, runs), plan.report.alpha, read_looks(plan)
    more = min(seeds + MORE_SEEDS, looks.max_seeds) if looks else seeds + MORE_SEEDS

    def detectable(count: int) -> float:
        level = alpha
        if looks:
            further = (count,) if count > seeds else ()
            level = compute_look_alpha((*looks.seed_counts, *further), looks.max_seeds, alpha=alpha)
        return compute_detectable_difference(
            spread or 1.0, count, alpha=level, family=family, levels=levels
        )

    unit = "points" if spread else "SD"
    line = f"With {seeds} seeds, 80 % power needs a paired difference of "
    line += f"{detectable(seeds):.2g} {unit}"
    if more > seeds:
        line += f"; with {more} seeds, {detectable(more):.2g} {unit}"
    basis = f"whose SD is {spread:.2g} points so far" if spread else "whose SD is not known yet"
    lines = [f"{line} ({basis})."]
    if clips := describe_clip_noise(plan, runs, spread):
        lines.append(clips)
    if looks is None:
        lines.append(
            "The number of seeds is fixed. To add some while a contrast is undecided, declare it "
            f"before the first report: `seeds: {{start: {seeds}, max: {max(2 * seeds, 8)}}}`."
        )
    return lines


def format_confirmation_power(confirm: Confirm | None, plan: StudyPlan) -> list[str]:
    """Warns if the seeds of a confirmation are too few to confirm a clear difference."""
    if confirm is None:
        return []
    from ablate.report.stats.power import TARGET_POWER, compute_power  # imports scipy

    def power(seeds: int) -> float:
        return compute_power(
            CLEAR_DIFFERENCE, 1.0, seeds, alpha=plan.report.alpha, family=confirm.top
        )

    if power(confirm.num_seeds) >= TARGET_POWER:
        return []
    needed = next(n for n in count(confirm.num_seeds) if power(n) >= TARGET_POWER)
    return [
        f"`confirm.seeds: {confirm.num_seeds}` confirms a true difference of "
        f"{CLEAR_DIFFERENCE:g} SD in only {100 * power(confirm.num_seeds):.0f} % of studies; "
        f"{needed} seeds would in 80 %."
    ]


def compute_spread(plan: StudyPlan, runs: Path) -> float | None:
    """Computes the standard deviation over seeds of paired differences, pooled over contrasts.

    In points of the validation score; None before two seeds of some contrast are done.
    """
    variances, freedom = 0.0, 0
    for differences in _compute_differences(plan, runs):
        if len(differences) >= MIN_SEEDS:
            variances += variance(differences) * (len(differences) - 1)
            freedom += len(differences) - 1
    return math.sqrt(variances / freedom) or None if freedom else None


def _compute_differences(plan: StudyPlan, runs: Path) -> Iterator[list[float]]:
    """Yields, for each level within each combination, the differences to its baseline by seed."""
    scores: dict[tuple[tuple[tuple[str, str], ...], int], float] = {}
    for trial in plan.trials:
        folder = runs / trial.fingerprint
        if folder.is_dir():
            value = store.read_score(folder, plan.score_protocol, plan.score.pooling, part="valid")
            if value is not None:
                scores[tuple(trial.levels.items()), trial.seed] = value
    for factor, baseline in plan.baseline.items():
        for levels in dict.fromkeys(levels for levels, _ in scores):
            labels = dict(levels)
            if labels.get(factor, baseline) == baseline:
                continue
            against = tuple((name, baseline if name == factor else labels[name]) for name in labels)
            yield [
                scores[levels, seed] - scores[against, seed]
                for seed in plan.seeds
                if (levels, seed) in scores and (against, seed) in scores
            ]
