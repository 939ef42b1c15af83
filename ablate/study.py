"""The front door: `python -m ablate.study FILE` plans a study, runs what is missing, and reports.

Exit codes: 0 all is done, 1 some trials failed, 2 the study file is wrong, 130 interrupted.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate import config
from ablate.designing import factors, merging, summary
from ablate.designing import trials as design
from ablate.files import write_json
from ablate.launching import backlog, ledger, overview
from ablate.launching.backlog import Backlog, Run
from ablate.launching.commands import RefusedError
from ablate.launching.pool import Job, Outcome, Pool
from ablate.launching.slurm import Cluster
from ablate.launching.watch import say, stage, terminal, watching
from ablate.launching.where import HERE, Asked, cluster, hand_over
from ablate.launching.worker import COMMAND, WorkerDiedError
from ablate.schema import Study, StudyError
from ablate.sweep_section import SweepError

DONE, FAILED, WRONG, INTERRUPTED = 0, 1, 2, 130
STATISTICS_POOLING = "mean_std"  # log-mel statistics have no other


@dataclass(frozen=True)
class Planned:
    """A study that can be run."""

    study: Study
    trials: list[design.Trial]
    plan: dict[str, Any]  # as in plan.json

    @property
    def runs(self) -> list[Run]:
        """Every run that the study wants: its trials, their random-init twins, mel statistics."""
        found = []
        for trial in self.trials:
            title = f"{trial.variant}, seed {trial.seed}"
            found.append(Run(trial.fingerprint, backlog.TRIAL, trial.settings, title))
            for name in ("twin", "statistics"):
                other = trial.plan[name]
                title = f"{other['kind']} {other['fingerprint']}"
                found.append(Run(other["fingerprint"], other["kind"], other["settings"], title))
        return found

    def backlog(self, runs: Path, *, retry_failed: bool = False) -> Backlog:
        return backlog.find(self.runs, runs, self.plan["probes"], retry_failed=retry_failed)


def main() -> None:
    """Reads the command line of `python -m ablate.study`."""
    parser = argparse.ArgumentParser(
        prog="python -m ablate.study", description="Plan a study, run what is missing, report."
    )
    parser.add_argument("file", type=Path, help="the study, a YAML file")
    parser.add_argument("overrides", nargs="*", metavar="a.b=c", help="settings to replace")
    parser.add_argument("--workers", type=int, help="default: one a GPU, or one a CPU core")
    parser.add_argument("--retry-failed", action="store_true", help="run failed trials again")
    parser.add_argument("--slurm", metavar="NAME", help="the cluster of slurm/NAME.yaml")
    parser.add_argument("--watch", action="store_true", help="with --slurm: follow the jobs")
    parser.add_argument("--dry-run", action="store_true", help="with --slurm: show the jobs")
    asked = parser.parse_intermixed_args()
    if asked.workers is not None and asked.workers < 1:
        parser.error(f"--workers must be at least 1; got {asked.workers}")
    listen_for_endings()
    code = run(
        asked.file,
        asked.overrides,
        workers=asked.workers,
        retry_failed=asked.retry_failed,
        where=Asked(asked.slurm, asked.watch, asked.dry_run),
    )
    sys.exit(code)


def run(
    file: Path,
    overrides: Sequence[str] = (),
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    where: Asked = HERE,
    command: Sequence[str] = COMMAND,
) -> int:
    """Runs a study from its file to its report; returns the exit code."""
    console, folders = terminal(), ledger.folders()

    def act() -> int:
        study = config.load(file, overrides)
        site = cluster(study, where, folders)
        with Pool(folders.cache, size=workers, command=command) as pool:
            planned = _tuned(prepare(study, pool, console), pool, folders, console)
            _draw_gallery(planned, pool, folders, console)
            write_json(folders.reports / study.name / "plan.json", planned.plan)
            if site is not None and (where.dry_run or not where.watch):
                found = planned.backlog(folders.runs, retry_failed=retry_failed)
                jobs = found.jobs(folders.runs, planned.plan["probes"])
                for line in hand_over(site, jobs, where):
                    say(console, line)
                return DONE
            runner = pool if site is None else site
            failed = _work(planned, runner, folders, console, retry_failed=retry_failed)
        _report(planned, folders, console)
        return FAILED if failed else DONE

    return _ended(act, again=["python", "-m", "ablate.study", str(file), *overrides])


def show(file: Path, overrides: Sequence[str] = (), *, command: Sequence[str] = COMMAND) -> int:
    """Checks a study and says what it would run; returns the exit code. Runs nothing."""
    console, folders = terminal(), ledger.folders()

    def act() -> int:
        study = config.load(file, overrides)
        with Pool(folders.cache, size=1, command=command) as pool:
            planned = prepare(study, pool, console)
            if study.sweep is not None:
                _say_sweep(planned, pool, console)
        found = planned.backlog(folders.runs)
        for line in (
            *overview.describe(planned.plan, found),
            *overview.preview(planned.plan, folders.runs),
        ):
            say(console, line)
        return DONE

    return _ended(act, again=["ablate", "plan", str(file), *overrides])


def listen_for_endings() -> None:
    """Makes the signals that end a session end it in good order: workers would outlive us."""
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, _interrupt)


def _ended(act: Callable[[], int], *, again: Sequence[str]) -> int:
    """Acts, and turns what can end an act early into words and an exit code."""
    errors = Console(stderr=True)
    try:
        return act()
    except StudyError as error:
        say(errors, str(error))
        return WRONG
    except WorkerDiedError as error:
        say(errors, f"{error}; nothing more can be run")
        return FAILED
    except (ValueError, OSError) as error:  # a damaged file, a full disk, a folder not ours
        say(errors, f"{error}; what is done is kept")
        return FAILED
    except SweepError as error:
        say(errors, str(error))
        return FAILED
    except RefusedError as error:
        say(errors, f"{error}; nothing was submitted")
        return FAILED
    except KeyboardInterrupt:
        say(errors, f"interrupted; what is done is kept. To go on: {shlex.join(again)}")
        return INTERRUPTED


def prepare(study: Study, pool: Pool, console: Console) -> Planned:
    """Has a worker check every trial and name it. Raises `StudyError` with all problems."""
    varied = factors.factors(study)
    trials = design.trials(study, varied)
    request = {
        "do": "plan",
        "trials": [trial.settings for trial in trials],
        "inner": [trial.inner for trial in trials],
        "probes": study.probes,
    }
    problems: list[str] = []
    with stage(console, f"planning {study.name}") as heard:
        answer = pool.ask(request, heard)
        if answer["event"] == "error":  # of the probes; the trials may have more
            problems += [_worded(study, problem) for problem in answer["problems"]]
            answer = pool.ask({**request, "probes": {}}, heard)
    problems += design.refused(study, trials, answer["trials"])
    if problems:
        raise StudyError(problems)
    trials = design.planned(trials, answer["trials"])
    varied, trials = merging.settle(varied, trials)
    trials = merging.merge(varied, trials)
    return Planned(study, trials, summary.summary(study, varied, trials, answer))


def _tuned(planned: Planned, pool: Pool, folders: ledger.Folders, console: Console) -> Planned:
    """Sweeps where the study asks for it; what is tuned takes the place of what is written."""
    study = planned.study
    if study.sweep is None:
        return planned
    from ablate import tuning  # Optuna: only for who asks for it

    _say_sweep(planned, pool, console)
    found = tuning.tune(study, planned.plan, pool, folders, console)
    for line in tuning.results(found):
        say(console, line)
    return Planned(study, *tuning.plan_tuned(study, planned.plan, found, pool, console))


def _say_sweep(planned: Planned, pool: Pool, console: Console) -> None:
    from ablate import tuning

    tuning.check(planned.study, planned.plan, pool, console)
    for line in tuning.describe(planned.study, planned.plan):
        say(console, line)


def _work(
    planned: Planned,
    runner: Pool | Cluster,
    folders: ledger.Folders,
    console: Console,
    *,
    retry_failed: bool,
) -> bool:
    """Runs what is missing; tells whether anything has failed, now or before."""
    found = planned.backlog(folders.runs, retry_failed=retry_failed)
    for line in overview.describe(planned.plan, found):
        say(console, line)
    jobs = found.jobs(folders.runs, planned.plan["probes"])
    if not jobs:
        return bool(found.failed)
    with watching(console, len(jobs), lambda job: _score(planned, job)) as watch:
        outcomes: list[Outcome] = runner.run(jobs, watch)
    lost = [outcome for outcome in outcomes if outcome.state != "done"]
    for outcome in lost:
        name = f"{outcome.job.title} ({outcome.job.folder.name})"
        say(console, f"{outcome.state}: {name}: {outcome.reason}")
    return bool(lost or found.failed)


def _score(planned: Planned, job: Job) -> float | None:
    wanted = planned.plan["score"]
    pooling = wanted["pooling"]
    if job.title.startswith("mel_statistics"):
        pooling = STATISTICS_POOLING
    return ledger.score(job.folder, planned.plan["probes"][wanted["probe"]], pooling)


def _draw_gallery(planned: Planned, pool: Pool, folders: ledger.Folders, console: Console) -> None:
    """Has a worker draw each masker on each patchifier, unless the pictures are there."""
    folder = folders.reports / planned.study.name / "gallery"
    firsts: dict[tuple[str, str], design.Trial] = {}
    for trial in planned.trials:
        labels = (
            design.label_within(trial.levels, "masker"),
            design.label_within(trial.levels, "patchifier"),
        )
        firsts.setdefault(labels, trial)
    of = {"--".join(labels): trial.fingerprint for labels, trial in firsts.items()}
    drawn = ledger.read_json(folder / "pictures.json") or {}
    if drawn.get("of") != of:
        wanted = [
            {"masker": masker, "patchifier": patchifier, "settings": trial.settings}
            for (masker, patchifier), trial in firsts.items()
        ]
        request = {"do": "gallery", "folder": str(folder), "trials": wanted}
        with stage(console, "drawing masks") as heard:
            answer = pool.ask(request, heard)
        if answer["event"] == "error":
            for problem in answer["problems"]:
                say(console, f"no pictures: {_worded(planned.study, problem)}")
            return
        drawn = {**answer, "of": of}
        write_json(folder / "pictures.json", drawn)
    planned.plan["gallery"] = {**drawn, "folder": folder.name}


def _report(planned: Planned, folders: ledger.Folders, console: Console) -> None:
    from ablate.reporting import report  # pandas and matplotlib: only once there is something

    folder = folders.reports / planned.study.name
    summary = report.write(planned.plan, folders.runs, folder)
    summary.render(console)


def _worded(study: Study, problem: dict[str, Any]) -> str:
    """Words a problem that belongs to the study and not to one trial."""
    path = problem["path"]
    name = f"`{'.'.join(path)}`: " if path else ""
    return f"{study.tree.nearest(path).place}: {name}{problem['message']}"


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
