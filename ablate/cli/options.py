"""Arguments and options that commands share, and helpers that find studies and runs on disk."""

from collections.abc import Iterable, Iterator
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
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


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
        reports = store.get_folders().reports
        fail(f"no plan of a study `{name}` in {reports}{did_you_mean(name, plans)}")
    with failing_on_value_error():
        return StudyPlan.read(plans[name])


def load_plan_unless_sweeping(study: str) -> "StudyPlan | None":
    """Loads a saved plan; returns None if a sweep on a cluster has not yet produced one.

    Fails for a study that has neither a plan nor a sweep.
    """
    from ablate.runs import store
    from ablate.slurm import sweep_workers

    name = get_study_name(study)
    is_sweeping = name in sweep_workers.find_studies(store.get_folders().reports)
    return None if is_sweeping and name not in find_plans() else load_plan(study)


def load_study_or_plan(study: str) -> "StudyPlan":
    """Loads a saved plan, by its own path or by its study; fails if it is not a plan."""
    if not study.endswith(".json"):
        return load_plan(study)
    from ablate.core.records.plan import StudyPlan

    plan = StudyPlan.find(Path(study))  # raises ValueError if it is not a plan
    if plan is None:
        fail(f"{study}: no such file; use the plan.json of a report folder")
    return plan


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


def find_run_folder(fingerprint: str) -> Path:
    """Finds the run folder whose name starts with `fingerprint`; fails unless there is one."""
    from ablate.runs import store

    with failing_on_value_error():
        return store.find_run(store.get_folders().runs, fingerprint)
