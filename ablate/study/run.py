"""A study from its file to its report: planned, run where something is missing, and reported."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.config.tree import format_problem
from ablate.core.io import find_json, write_json
from ablate.core.records.messages import GalleryRequest, GalleryTrial
from ablate.design import trials as design
from ablate.executors.local import Pool
from ablate.executors.progress import create_console, print_line, progress_bar
from ablate.executors.worker import COMMAND, RequestRefusedError
from ablate.runs import status as run_status
from ablate.runs import store
from ablate.slurm.executor import Cluster
from ablate.slurm.options import HERE, Asked, cluster, hand_over
from ablate.study import dry_run, estimate, seed_rounds
from ablate.study.exit_codes import DONE, FAILED, INTERRUPTED, OVER, WRONG, ended
from ablate.study.prepare import Planned, prepare, say_sweep, swept, tuned

__all__ = ["DONE", "FAILED", "INTERRUPTED", "OVER", "WRONG", "Planned", "prepare"]


def run(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    workers: int | None = None,
    ranks: int = 1,
    retry_failed: bool = False,
    where: Asked = HERE,
    command: Sequence[str] = COMMAND,
    console: Console | None = None,
) -> int:
    """Runs a study from its file to its report; returns the exit code.

    `workers` trials are trained at once; by default one per GPU, or one per CPU core. `ranks`
    processes, each with a GPU of its own, train one trial together.
    """
    console, folders = console or create_console(), store.get_folders()

    def act() -> int:
        study = loader.load(file, overrides)
        site = cluster(study, where, folders)
        with Pool(folders.cache, size=workers, ranks=ranks, command=command) as pool:
            planned = prepare(study, pool, console)
            if site is not None and not swept(planned, site, where, folders, console):
                return DONE
            planned = tuned(planned, pool, folders, console, taken=site is not None)
            if where.sweep_only:
                return DONE
            if site is not None:
                site.needs.check(planned.runs)
            _draw_gallery(planned, pool, folders, console)
            seed_rounds.check_limits(planned, folders, retry_failed=retry_failed)
            retries = iter([retry_failed])  # what fails again in this session is left at that

            def work(part: Planned) -> bool | None:
                retry = next(retries, False)
                if site is not None and (where.dry_run or not where.watch):
                    return _hand_over(part, site, where, folders, console, retry_failed=retry)
                runner = pool if site is None else site
                return seed_rounds.work(part, runner, folders, console, retry_failed=retry)

            return FAILED if seed_rounds.train(planned, folders, console, work) else DONE

    return ended(act, again=["ablate", "run", str(file), *overrides])


def show(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    as_json: bool = False,
    timed: bool = False,
    workers: int | None = None,
    command: Sequence[str] = COMMAND,
) -> int:
    """Checks a study and says what it would run; returns the exit code. Runs nothing.

    If `timed`, canaries, which are trials cut short, are run to tell what that would take, and
    thrown away.
    """
    console, folders = Console(stderr=True) if as_json else create_console(), store.get_folders()

    def act() -> int:
        study = loader.load(file, overrides)
        with Pool(folders.cache, size=workers if timed else 1, command=command) as pool:
            planned = prepare(study, pool, console)
            if study.sweep is not None:
                say_sweep(planned, pool, console)
            part = seed_rounds.present(planned, folders)
            found = part.backlog(folders.runs)
            costs = dry_run.rehearse(part, found, pool, console) if timed else []
            told = dry_run.describe(costs, pool.size) if timed else []
        hours = sum(cost.hours for cost in costs) if timed else None
        if as_json:
            canaries = {"canaries": [asdict(cost) for cost in costs]} if timed else {}
            plan = {**part.plan, "backlog": found.counts(), **canaries}
            sys.stdout.write(json.dumps(plan) + "\n")
        lines = (
            *run_status.format_summary(part.plan, found),
            *run_status.format_preview(part.plan, folders.runs),
            *run_status.format_code_warnings(part.plan, folders.runs),
            *estimate.describe(part.plan, found, folders.runs),
            *told,
        )
        for line in () if as_json else lines:
            print_line(console, line)
        seed_rounds.check_limits(planned, folders, hours=hours)
        return DONE

    return ended(act, again=["ablate", "plan", str(file), *overrides])


def report(file: Path, overrides: Sequence[str] = (), *, command: Sequence[str] = COMMAND) -> int:
    """Writes a study's report from what is on disk, planning it anew; returns the exit code."""
    console, folders = create_console(), store.get_folders()

    def act() -> int:
        study = loader.load(file, overrides)
        if study.sweep is not None:  # what it was tuned to stands in its saved plan alone
            return report_again(study.name)
        with Pool(folders.cache, size=1, command=command) as pool:
            planned = prepare(study, pool, console)
            _draw_gallery(planned, pool, folders, console)
        part = seed_rounds.settled(seed_rounds.present(planned, folders), planned, folders)
        seed_rounds.save(part, folders)
        seed_rounds.report(part.plan, folders, console)
        return DONE

    return ended(act, again=["ablate", "report", str(file), *overrides])


def report_again(name: str) -> int:
    """Writes a study's report from its saved plan and what is on disk; returns the exit code."""
    folders = store.get_folders()

    def act() -> int:
        plan = find_json(folders.reports / name / "plan.json")
        if plan is None:
            problem = f"{folders.reports / name} holds no plan.json"
            raise StudyError([f"{problem}; run the study, or name its file"])
        seed_rounds.report(plan, folders, create_console())
        return DONE

    return ended(act, again=["ablate", "report", name])


def _hand_over(
    part: Planned,
    site: Cluster,
    where: Asked,
    folders: store.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> bool | None:
    """Submits what is missing; where nothing is, the study goes on here, to its report.

    Returns as `rounds.train`.
    """
    found = part.backlog(folders.runs, retry_failed=retry_failed)
    jobs = found.jobs(folders.runs, part.plan["probes"], part.plan["evaluate"])
    if not (jobs or where.dry_run):
        return bool(found.failed)
    for line in hand_over(site, jobs, where):
        print_line(console, line)
    return None


def _draw_gallery(planned: Planned, pool: Pool, folders: store.Folders, console: Console) -> None:
    """Has a worker draw each masker on each patchifier, unless the pictures are there."""
    folder = folders.reports / planned.study.name / "gallery"
    firsts: dict[tuple[str, str], design.PlannedTrial] = {}
    for trial in planned.trials:
        labels = (
            design.label_within(trial.levels, "masker"),
            design.label_within(trial.levels, "patchifier"),
        )
        firsts.setdefault(labels, trial)
    of = {"--".join(labels): trial.fingerprint for labels, trial in firsts.items()}
    drawn = find_json(folder / "pictures.json") or {}
    if drawn.get("of") != of:
        wanted = [
            GalleryTrial(masker=masker, patchifier=patchifier, settings=dict(trial.settings))
            for (masker, patchifier), trial in firsts.items()
        ]
        request = GalleryRequest(folder=folder, trials=tuple(wanted))
        with progress_bar(console, "drawing masks") as on_progress:
            try:
                reply = pool.request(request, on_progress)
            except RequestRefusedError as error:
                for problem in map(asdict, error.problems):
                    text = format_problem(planned.study.tree, problem)
                    print_line(console, f"no pictures: {text}")
                return
        drawn = {**asdict(reply), "of": of}
        write_json(folder / "pictures.json", drawn)
    planned.plan["gallery"] = {**drawn, "folder": folder.name}
