"""Trains a study in rounds: more seeds are added while the results are undecided.

Whether to continue is decided by the pooled contrasts, and for a contrast that differs between
combinations by its contrasts within each. However this is decided, all looks together keep the
study's alpha.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from functools import partial

from rich.console import Console

from ablate.core.records.plan import StudyPlan
from ablate.executors.local import Pool
from ablate.executors.progress import print_line, show_progress
from ablate.runs import links, preview, store
from ablate.runs.job import RunJob, RunOutcome
from ablate.runs.scores import get_statistics_pooling
from ablate.slurm.executor import Cluster
from ablate.study import estimate, interim_looks, report_writing
from ablate.study.prepare import PreparedStudy

MAX_NAMES = 5  # how many contrasts are named in a line

# runs what a study lacks; returns whether anything failed, None if a cluster is still at it
Work = Callable[[PreparedStudy], bool | None]


def train(
    prepared: PreparedStudy,
    folders: store.Folders,
    console: Console,
    work: Work,
    *,
    force: bool = False,
) -> bool | None:
    """Trains and reports until all is decided or no seed is left, then confirms the leaders.

    Args:
        prepared: the study.
        folders: where runs and reports lie.
        console: where progress and reports are shown.
        work: runs what a study lacks.
        force: replaces a report with more finished trials, too.

    Returns:
        Whether anything failed; None if the work was handed to a cluster and is not done.
    """

    def report(current: PreparedStudy, lines: list[str]) -> bool:
        return report_writing.report_plan(current.plan, lines, folders, console, force=force)

    current = current_plan(prepared, folders)
    while True:
        save_plan(current, folders)
        failed = work(current)
        if failed is None:
            return None
        num_seeds, lines = _decide(current, folders)
        if num_seeds is None:
            confirmation_failed = _confirm(prepared, current, lines, folders, work, report)
            return None if confirmation_failed is None else failed or confirmation_failed
        report(current, lines)
        current = first_seeds(prepared, num_seeds, folders)


def _decide(current: PreparedStudy, folders: store.Folders) -> tuple[int | None, list[str]]:
    """Returns the number of seeds to continue with, None to stop, and the lines to print."""
    growth, count = current.study.growth, len(current.plan.seeds)
    if growth is None:
        return None, []
    undecided, num_seeds = find_undecided(current.plan, folders), growth.get_next_count(count)
    line = _format_decision(count, growth.max, num_seeds, undecided)
    return num_seeds if undecided else None, [line]


def _confirm(
    prepared: PreparedStudy,
    current: PreparedStudy,
    lines: list[str],
    folders: store.Folders,
    work: Work,
    report: Callable[[PreparedStudy, list[str]], bool],
) -> bool | None:
    """Trains the leading variants on fresh seeds, if the study asks for it, and reports.

    Returns as `train`; `report` returns whether the report was written.
    """
    confirmed = _add_confirmation(current, prepared, folders)
    if confirmed is current:
        if prepared.study.confirm is not None:
            nothing = "nothing to confirm: no variant with all its scores leads the baseline"
            lines = [*lines, nothing]
        return not report(current, lines)
    pending = confirmed.find_pending(folders.runs)
    if pending.start or pending.score:  # the verdicts do not wait for the confirmation
        fresh = confirmed.confirmation_seeds
        names = [trial.variant for trial in confirmed.trials if trial.seed in fresh[:1]]
        seeds = ", ".join(map(str, fresh))
        lines = [*lines, f"to confirm, on fresh seeds {seeds}: {'; '.join(names)}"]
        report(current, lines)
        lines = []
    save_plan(confirmed, folders)
    failed = work(confirmed)
    if failed is None:
        return None
    return not report(confirmed, lines) or failed


def _add_confirmation(
    current: PreparedStudy, prepared: PreparedStudy, folders: store.Folders
) -> PreparedStudy:
    """Adds the fresh seeds of the variants that lead by validation score, and of the baseline.

    Returns `current` itself if the study has no `confirm`, or nothing but the baseline leads.
    Raises `ValueError` as `select_leading_variants`.
    """
    confirm, baseline = current.study.confirm, current.plan.baseline
    if confirm is None:
        return current
    from ablate.report.results import read_results
    from ablate.report.stats.ranks import select_leading_variants

    leading = select_leading_variants(read_results(current.plan, folders.runs), confirm.top)
    seed = current.plan.seeds[0]
    variants = [trial.levels for trial in current.trials if trial.seed == seed]
    baselines = [
        levels
        for levels in variants
        if all(levels.get(name, label) == label for name, label in baseline.items())
    ]
    chosen = [
        levels
        for levels in variants
        if levels in baselines or tuple(levels.get(name, "-") for name in baseline) in leading
    ]
    if not baselines or len(chosen) == len(baselines):
        return current
    return first_seeds(prepared, len(current.plan.seeds), folders, chosen)


def with_confirmation(
    current: PreparedStudy, prepared: PreparedStudy, folders: store.Folders
) -> PreparedStudy:
    """Returns the study with its confirmation if that has been trained, else `current`."""
    confirmed = _add_confirmation(current, prepared, folders)
    return current if confirmed.find_pending(folders.runs).start else confirmed


def current_plan(prepared: PreparedStudy, folders: store.Folders) -> PreparedStudy:
    """Returns the study with the seeds that have been decided on so far."""
    growth = prepared.study.growth
    if growth is None:
        return first_seeds(prepared, len(prepared.study.seeds), folders)
    count = interim_looks.count_seeds(growth, prepared.plan, folders.runs)
    return first_seeds(prepared, count, folders)


def first_seeds(
    prepared: PreparedStudy,
    count: int,
    folders: store.Folders,
    confirmed: Collection[Mapping[str, str]] = (),
) -> PreparedStudy:
    """Returns the study with its first `count` seeds, and the recorded looks in its plan.

    `confirmed` as in `PreparedStudy.subset`.
    """
    part = prepared.subset(prepared.study.seeds[:count], confirmed)
    plan = interim_looks.with_looks(part.plan, prepared.study.growth, folders.runs)
    return replace(part, plan=plan)


def check_limits(
    prepared: PreparedStudy,
    folders: store.Folders,
    *,
    retry_failed: bool = False,
    hours: float | None = None,
) -> None:
    """Raises `OverBudgetError` if the study could exceed its limits.

    Every declared seed and the confirmation count; `hours` as in `estimate.check_limits`.
    """
    study = prepared.study
    variants = [trial.levels for trial in prepared.trials if trial.seed == study.seeds[0]]
    # the leaders are not known yet; any of them may do, with the baseline
    confirmed = variants[: study.confirm.top + 1] if study.confirm else []
    part = prepared.subset(study.seeds, confirmed)
    pending = part.find_pending(folders.runs, retry_failed=retry_failed)
    estimate.check_limits(study.limits, part.plan, pending, folders.runs, hours=hours)


def save_plan(prepared: PreparedStudy, folders: store.Folders) -> None:
    """Writes `plan.json` and links to the runs beside the report."""
    file = prepared.plan.file_in(folders.reports)
    prepared.plan.write(file)
    links.write_links(prepared.plan, folders.runs, file.parent)


def find_undecided(plan: StudyPlan, folders: store.Folders) -> list[str]:
    """Names the contrasts that more seeds could decide."""
    from ablate.report.results import read_results  # imports pandas and scipy
    from ablate.report.stats.verdicts import compute_verdicts, list_undecided_contrasts

    return list_undecided_contrasts(compute_verdicts(read_results(plan, folders.runs)))


def _format_decision(
    count: int, max_seeds: int, next_count: int | None, undecided: list[str]
) -> str:
    look = f"looked at with {count} of up to {max_seeds} seeds"
    if not undecided:
        return f"{look}: more seeds could decide nothing further; stopping"
    more = f", and {len(undecided) - MAX_NAMES} more" if len(undecided) > MAX_NAMES else ""
    names = f"undecided: {'; '.join(undecided[:MAX_NAMES])}{more}"
    if next_count is None:
        return f"{look}: {names}; all declared seeds are used; stopping"
    return f"{look}: {names}; continuing to {next_count} seeds"


def run_pending(
    prepared: PreparedStudy,
    runner: Pool | Cluster,
    folders: store.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> bool:
    """Runs what the study lacks; returns whether anything failed, now or before."""
    plan, pending = prepared.plan, prepared.find_pending(folders.runs, retry_failed=retry_failed)
    summary = preview.format_summary(plan, pending)
    for line in [*summary, *preview.format_code_warnings(plan, folders.runs)]:
        print_line(console, line)
    jobs = pending.jobs(folders.runs, plan.probes, plan.evaluate)
    if not jobs:
        return bool(pending.failed)
    kinds = {run.fingerprint: run.kind for run in prepared.runs}
    with show_progress(console, len(jobs), partial(_read_score, plan, kinds)) as listener:
        outcomes: list[RunOutcome] = runner.run(jobs, listener)
    failed = [outcome for outcome in outcomes if outcome.state != "done"]
    for outcome in failed:
        name = f"{outcome.job.title} ({outcome.job.folder.name})"
        print_line(console, f"{outcome.state}: {name}: {outcome.reason}")
    return bool(failed or pending.failed)


def _read_score(plan: StudyPlan, kinds: Mapping[str, str], job: RunJob) -> float | None:
    """Reads the validation score of a run; only the report reads test scores."""
    is_statistics = kinds[job.folder.name] == "mel_statistics"
    pooling = plan.score.pooling
    if is_statistics:
        pooling = get_statistics_pooling(pooling)
    return store.read_score(job.folder, plan.score_protocol, pooling, part="valid")
