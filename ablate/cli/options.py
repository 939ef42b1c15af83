"""Arguments and options that commands share, and helpers that find studies and runs on disk."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from ablate.core.records.plan import StudyPlan

StudyFile = Annotated[Path, typer.Argument(help="The study: a YAML file.", metavar="FILE")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings to replace, such as budget.steps=60.", metavar="a.b=c"),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1, help="Number of trials to run at once. Default: one per GPU, or one per CPU core."
    ),
]
Ranks = Annotated[int, typer.Option(min=1, help="Processes per trial, with one GPU each.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 picks a free one.")]
StudyName = Annotated[
    str, typer.Argument(help="Name of a study, or its YAML file.", metavar="STUDY")
]
StudyOrPlan = Annotated[
    str,
    typer.Argument(help="Name of a study, its YAML file, or a saved plan.json.", metavar="STUDY"),
]
RunName = Annotated[
    str, typer.Argument(help="Fingerprint of a run, or its first characters.", metavar="RUN")
]
RunOrStudy = Annotated[
    str,
    typer.Argument(
        help="Fingerprint of a run, or its first characters; or a study, with conditions.",
        metavar="RUN",
    ),
]
Conditions = Annotated[
    list[str] | None,
    typer.Argument(
        help="Which run of a study, such as masker=block seed=0.", metavar="FACTOR=LEVEL"
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a report that has more finished trials, too.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]

MAX_RUNS = 20  # listed if several fit


def fail(message: str) -> NoReturn:
    """Prints an error on stderr, and ends the program with exit code 2."""
    typer.echo(message, err=True)
    raise typer.Exit(2)


@contextmanager
def failing_on_value_error() -> Iterator[None]:
    """Turns a `ValueError` inside the block, such as for a damaged file, into `fail`."""
    try:
        yield
    except ValueError as error:
        fail(str(error))


def print_lines(lines: Iterable[str]) -> None:
    """Prints lines on stdout."""
    for line in lines:
        typer.echo(line)


def find_plans() -> dict[str, Path]:
    """Finds the saved plan of every study in the reports folder, by the name of the study."""
    from ablate.runs import store

    files = sorted(store.get_folders().reports.glob("*/plan.json"))
    return {file.parent.name: file for file in files}


def load_plan(study: str) -> "StudyPlan":
    """Loads the saved plan of a study, by its name or file; fails if there is none."""
    from ablate.core.records.plan import StudyPlan
    from ablate.core.suggest import did_you_mean
    from ablate.runs import store

    plans, name = find_plans(), get_study_name(study)
    if name not in plans:
        if sweep := _describe_sweep(name):
            fail(sweep)
        reports = store.get_folders().reports
        hint = did_you_mean(name, plans) or "; no study has been run here: ablate run FILE"
        fail(f"no plan of a study `{name}` in {reports}{hint}")
    with failing_on_value_error():
        return StudyPlan.read(plans[name])


def _describe_sweep(study: str) -> str:
    """Describes the runs of a sweep that has no plan yet; empty if there are none."""
    from ablate.runs import store
    from ablate.sweep.recovery import find_sweep_runs

    folders = sorted(find_sweep_runs(store.get_folders().runs, [study]))
    states = Counter(store.read_status(folder).state for folder in folders)
    if not states:
        return ""
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    return (
        f"the sweep of `{study}` has not ended, so its plan is not written yet; trials of its "
        f"points: {counts}. `ablate dashboard` with the study's file shows the points, and "
        "`ablate run` with it starts the sweep or goes on with it"
    )


def load_plan_unless_submitted(study: str) -> "StudyPlan | None":
    """Loads a saved plan; None if only jobs that precede it were submitted: a sweep, decoding.

    Fails for a study that has neither.
    """
    from ablate.runs import store
    from ablate.slurm import command_array

    name = get_study_name(study)
    is_submitted = name in command_array.find_studies(store.get_folders().reports)
    return None if is_submitted and name not in find_plans() else load_plan(study)


def load_study_or_plan(study: str) -> "StudyPlan":
    """Loads a saved plan, by its own path or by its study; fails if it is not a plan."""
    if not study.endswith(".json"):
        return load_plan(study)
    from ablate.core.records.plan import StudyPlan

    plan = StudyPlan.find(Path(study))  # raises ValueError if it is not a plan
    if plan is None:
        fail(f"{study}: no such file; use the plan.json of a report folder")
    return plan


def find_report_folder(study: str) -> Path:
    """Returns the folder of a study's report, by its name, its file or its plan."""
    from ablate.runs import store

    if study.endswith(".json"):
        return Path(study).parent
    return store.get_folders().reports / get_study_name(study)


def get_study_name(study: str) -> str:
    """Returns the name of a study that is given by its name or by its file."""
    if not is_study_file(study):
        return study
    from ablate.config import loader
    from ablate.config.study import StudyError

    try:
        name = loader.read(Path(study)).at(["study"])
    except StudyError as error:
        fail(str(error))
    return str(name.value) if name is not None else Path(study).stem


def is_study_file(study: str) -> bool:
    """Whether an argument is a study's file, not its name."""
    return study.endswith((".yaml", ".yml"))


def find_run_folder(name: str, conditions: Sequence[str] | None = None) -> Path:
    """Finds one run folder; fails unless there is exactly one.

    Args:
        name: The start of the run's fingerprint; with `conditions`, the study of the run.
        conditions: Levels and seed of the run, as `masker=block`.
    """
    from ablate.runs import store

    runs = store.get_folders().runs
    if conditions or get_study_name(name) in find_plans():
        return runs / _find_fingerprint(load_plan(name), conditions or [])
    with failing_on_value_error():
        return store.find_run(runs, name)


def _find_fingerprint(plan: "StudyPlan", conditions: Sequence[str]) -> str:
    """Finds the one trial of a plan that fits the conditions; fails unless there is one."""
    from ablate.design.selection import parse_selection

    with failing_on_value_error():
        selection = parse_selection(conditions, plan.factors, {trial.seed for trial in plan.trials})
    fitting = {
        trial.fingerprint: " ".join(
            f"{name}={value}" for name, value in {**trial.levels, "seed": trial.seed}.items()
        )
        for trial in plan.trials
        if selection.fits(trial.levels, trial.seed)
    }
    if len(fitting) != 1:
        listed = [f"  {text}" for text in fitting.values()]
        more = [f"  and {len(fitting) - MAX_RUNS} more"] if len(fitting) > MAX_RUNS else []
        problem = f"{len(fitting)} runs of {plan.study} fit; give conditions that only one fits:"
        fail("\n".join([problem, *listed[:MAX_RUNS], *more]))
    return next(iter(fitting))
