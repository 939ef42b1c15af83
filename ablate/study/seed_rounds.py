"""A study's rounds: its seeds are trained and looked at, and the next ones while it is undecided.

Whether to go on is asked of the pooled contrasts; of one that differs by combination, of its
contrasts within each. However that choice is made, the looks together err at the study's alpha.
"""

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from rich.console import Console

from ablate.core.io import write_json
from ablate.executors.local import Pool
from ablate.executors.progress import print_line, show_progress
from ablate.runs import status as run_status
from ablate.runs import store
from ablate.runs.job import RunJob, RunOutcome
from ablate.runs.scores import STATISTICS_POOLING
from ablate.slurm.executor import Cluster
from ablate.study import estimate, interim_looks
from ablate.study.prepare import Planned

FIRST = 5  # of a long list
Work = Callable[[Planned], bool | None]  # tells whether anything failed; None: it is not done yet


def train(planned: Planned, folders: store.Folders, console: Console, work: Work) -> bool | None:
    """Works and looks until all is decided or no seed is left, and confirms.

    Returns whether anything failed, or None where the work, handed to a cluster, is not done yet.
    """
    part = present(planned, folders)
    while True:
        save(part, folders)
        failed = work(part)
        if failed is None:
            return None
        further, told = _decision(part, folders)
        if further is None:
            lost = _confirm(planned, part, told, folders, console, work)
            return None if lost is None else failed or lost
        _report(part, told, folders, console)
        part = at(planned, further, folders)


def _decision(part: Planned, folders: store.Folders) -> tuple[int | None, list[str]]:
    """Returns how many seeds to go on with, None where it ends, and the lines to print."""
    growth, count = part.study.growth, len(part.plan["seeds"])
    if growth is None:
        return None, []
    unsure, further = undecided(part.plan, folders), growth.after(count)
    return further if unsure else None, [_words(count, growth.max, further, unsure)]


def _confirm(
    planned: Planned,
    part: Planned,
    told: list[str],
    folders: store.Folders,
    console: Console,
    work: Work,
) -> bool | None:
    """Trains what leads on fresh seeds, where a study asks for it, and reports.

    Returns as `train`.
    """
    whole = _confirming(part, planned, folders)
    if whole is part:
        if planned.study.confirm is not None:
            told = [*told, "nothing to confirm: no variant with all its scores leads the baseline"]
        _report(part, told, folders, console)
        return False
    found = whole.backlog(folders.runs)
    if found.start or found.score:  # the verdict does not wait for what confirms it
        names = [trial.variant for trial in whole.trials if trial.seed in whole.fresh[:1]]
        seeds = ", ".join(map(str, whole.fresh))
        told = [*told, f"to confirm, on fresh seeds {seeds}: {'; '.join(names)}"]
        _report(part, told, folders, console)
        told = []
    save(whole, folders)
    lost = work(whole)
    if lost is None:
        return None
    _report(whole, told, folders, console)
    return lost


def _confirming(part: Planned, planned: Planned, folders: store.Folders) -> Planned:
    """Adds the fresh seeds of the variants that lead by validation score, and of the baseline.

    Returns `part` itself where the study does not ask for it, or nothing but the baseline leads.
    Raises `ValueError` as `leaders`.
    """
    confirm, baseline = part.study.confirm, part.plan["baseline"]
    if confirm is None:
        return part
    from ablate.report.results import read_results
    from ablate.report.stats.ranks import select_leading_variants

    best = select_leading_variants(read_results(part.plan, folders.runs), confirm.top)
    first = [trial.levels for trial in part.trials if trial.seed == part.plan["seeds"][0]]
    usual = [lv for lv in first if all(lv.get(name, of) == of for name, of in baseline.items())]
    led = [levels for levels in first if tuple(levels.get(n, "-") for n in baseline) in best]
    chosen = [levels for levels in first if levels in usual or levels in led]
    if not usual or len(chosen) == len(usual):
        return part
    return at(planned, len(part.plan["seeds"]), folders, chosen)


def settled(part: Planned, planned: Planned, folders: store.Folders) -> Planned:
    """Returns a study with its confirmation, where that has been trained, else `part`."""
    whole = _confirming(part, planned, folders)
    return part if whole.backlog(folders.runs).start else whole


def present(planned: Planned, folders: store.Folders) -> Planned:
    """Returns a study with the seeds that it has by now."""
    growth = planned.study.growth
    if growth is None:
        return at(planned, len(planned.study.seeds), folders)
    return at(planned, interim_looks.seeds_now(growth, planned.plan, folders.runs), folders)


def at(
    planned: Planned,
    count: int,
    folders: store.Folders,
    confirmed: Collection[Mapping[str, str]] = (),
) -> Planned:
    """Returns a study with its first `count` seeds, and what is recorded of earlier looks."""
    part = planned.having(planned.study.seeds[:count], confirmed)
    part.plan.update(interim_looks.told(part.plan, planned.study.growth, folders.runs))
    return part


def check_limits(
    planned: Planned,
    folders: store.Folders,
    *,
    retry_failed: bool = False,
    hours: float | None = None,
) -> None:
    """Raises `OverBudgetError` where all that a study may yet take is over its limits.

    That is with every declared seed and its confirmation; `hours` as `forecast.check`.
    """
    study = planned.study
    first = [trial.levels for trial in planned.trials if trial.seed == study.seeds[0]]
    top = first[: study.confirm.top + 1] if study.confirm else []  # any of them, and the baseline
    part = planned.having(study.seeds, top)
    found = part.backlog(folders.runs, retry_failed=retry_failed)
    estimate.check(study.limits, part.plan, found, folders.runs, hours=hours)


def save(planned: Planned, folders: store.Folders) -> None:
    """Writes the plan beside the report, as `plan.json`."""
    write_json(folders.reports / planned.study.name / "plan.json", planned.plan)


def undecided(plan: dict[str, Any], folders: store.Folders) -> list[str]:
    """Names the contrasts that more seeds could decide, as `open_contrasts`."""
    from ablate.report.results import read_results  # pandas and scipy: only once there is something
    from ablate.report.stats.verdicts import compute_verdicts, list_undecided_contrasts

    return list_undecided_contrasts(compute_verdicts(read_results(plan, folders.runs)))


def _words(count: int, most: int, further: int | None, unsure: list[str]) -> str:
    look = f"looked at with {count} of up to {most} seeds"
    if not unsure:
        return f"{look}: more seeds could decide nothing further; stopping"
    more = f", and {len(unsure) - FIRST} more" if len(unsure) > FIRST else ""
    still = f"undecided: {'; '.join(unsure[:FIRST])}{more}"
    if further is None:
        return f"{look}: {still}; all declared seeds are used; stopping"
    return f"{look}: {still}; continuing to {further} seeds"


def work(
    planned: Planned,
    runner: Pool | Cluster,
    folders: store.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> bool:
    """Runs what is missing by a pool or a cluster; tells whether anything failed, now or before."""
    found = planned.backlog(folders.runs, retry_failed=retry_failed)
    told = run_status.format_summary(planned.plan, found)
    for line in [*told, *run_status.format_code_warnings(planned.plan, folders.runs)]:
        print_line(console, line)
    jobs = found.jobs(folders.runs, planned.plan["probes"], planned.plan["evaluate"])
    if not jobs:
        return bool(found.failed)
    kinds = {run.fingerprint: run.kind for run in planned.runs}
    judge = partial(_score, planned, kinds)
    with show_progress(console, len(jobs), judge) as watch:
        outcomes: list[RunOutcome] = runner.run(jobs, watch)
    lost = [outcome for outcome in outcomes if outcome.state != "done"]
    for outcome in lost:
        name = f"{outcome.job.title} ({outcome.job.folder.name})"
        print_line(console, f"{outcome.state}: {name}: {outcome.reason}")
    return bool(lost or found.failed)


def report(plan: dict[str, Any], folders: store.Folders, console: Console) -> None:
    """Writes the report of a plan and shows it; that it was looked at is recorded first."""
    from ablate.report import report

    interim_looks.record(plan, folders.runs)
    report.write_report(plan, folders.runs, folders.reports / plan["study"]).render(console)


def _report(part: Planned, told: list[str], folders: store.Folders, console: Console) -> None:
    report(part.plan, folders, console)
    for line in told:
        print_line(console, line)


def _score(planned: Planned, kinds: Mapping[str, str], job: RunJob) -> float | None:
    wanted = planned.plan["score"]
    pooling = wanted["pooling"]
    if kinds[job.folder.name] == "mel_statistics":
        pooling = STATISTICS_POOLING
    probe = planned.plan["probes"][wanted["probe"]]
    return store.read_score(
        job.folder, probe, pooling, part="valid"
    )  # the report opens the test part
