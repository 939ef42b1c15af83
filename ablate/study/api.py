"""Plans and runs a study from Python, with typed results: `ablate.plan` and `ablate.run`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from ablate.config import loader
from ablate.config.study import Study
from ablate.design.trials import PlannedTrial
from ablate.executors.local import Pool
from ablate.report.dataframes import StudyResults, results
from ablate.runs import store
from ablate.runs.pending import PendingWork
from ablate.study import run as study_run
from ablate.study import seed_rounds
from ablate.study.prepare import prepare


class StudyFailedError(RuntimeError):
    """A study that ended without results. The messages on the console say why."""


@dataclass(frozen=True)
class StudyPreview:
    """What a study would run.

    Args:
        name: The name of the study.
        trials: Every trial of the design, with its levels, seed, settings and fingerprint.
        pending: The runs of these trials and of their references, by what is left to do.
    """

    name: str
    trials: tuple[PlannedTrial, ...]
    pending: PendingWork

    @property
    def num_trainings(self) -> int:
        """The number of trials that are yet to be trained."""
        return len(self.pending.trainings)


def plan(study: str | Path, overrides: Mapping[str, Any] | None = None) -> StudyPreview:
    """Validates a study and returns what it would run. Decodes audio, but trains nothing.

    Progress is printed to stderr.

    Args:
        study: The path of its YAML file.
        overrides: Values that replace those of the file, by dotted path.

    Raises:
        StudyError: With every mistake of the study, each with file and line.

    Example:
        >>> import ablate
        >>> preview = ablate.plan("study.yaml", {"seeds": 2})
        >>> [(trial.variant, trial.seed) for trial in preview.trials]
        [('random', 0), ('block', 0), ('random', 1), ('block', 1)]
        >>> preview.num_trainings
        4
    """
    loaded = _load(study, overrides)
    folders = store.get_folders()
    with Pool(folders.cache, size=1) as pool:
        prepared = prepare(loaded, pool, Console(stderr=True))
    current = seed_rounds.current_plan(prepared, folders)
    return StudyPreview(loaded.name, tuple(current.trials), current.find_pending(folders.runs))


def run(
    study: str | Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    workers: int | None = None,
    ranks: int = 1,
    retry_failed: bool = False,
    force: bool = False,
) -> StudyResults:
    """Runs what a study lacks on this machine, writes its report and returns the results.

    Trials that are done are not trained again. A trial that fails does not stop the others; its
    state and the reason are in `trials` of the results. Progress is printed to stderr.

    Args:
        study: The path of its YAML file.
        overrides: Values that replace those of the file, by dotted path. The report is then
            `NAME-try`, unless they contain `study`.
        workers: Trials to train at the same time. By default one per GPU, or one per CPU core.
        ranks: GPUs that train one trial together.
        retry_failed: Train trials again that failed before.
        force: Replace a report that has more finished trials, too.

    Returns:
        Scores, trials, variants, contrasts and curves, each a pandas data frame.

    Raises:
        StudyError: With every mistake in the file of the study, each with file and line.
        StudyFailedError: If nothing was run; the messages on the console say why.

    Example:
        >>> import ablate
        >>> found = ablate.run("study.yaml", {"budget.steps": 2, "study": "tiny"}, workers=1)
        >>> found.trials[["masker", "seed", "state"]]
           masker  seed state
        0  random     0  done
        1   block     0  done
    """
    loaded = _load(study, overrides)
    code = study_run.run_study(
        Path(study),
        _to_arguments(overrides),
        workers=workers,
        ranks=ranks,
        retry_failed=retry_failed,
        force=force,
        console=Console(stderr=True),
    )
    if code == study_run.INTERRUPTED:
        raise KeyboardInterrupt
    folders = store.get_folders()
    report = folders.reports / loaded.name
    if code not in (study_run.DONE, study_run.FAILED) or not (report / "plan.json").is_file():
        raise StudyFailedError(f"study `{loaded.name}` was not run (exit code {code})")
    return results(report, runs=folders.runs)


def _load(study: str | Path, overrides: Mapping[str, Any] | None) -> Study:
    return loader.load(Path(study), _to_arguments(overrides))


def _to_arguments(overrides: Mapping[str, Any] | None) -> list[str]:
    """Writes overrides as the command line takes them: `budget.steps=4`; JSON is YAML, too."""
    return [f"{path}={json.dumps(value)}" for path, value in (overrides or {}).items()]
