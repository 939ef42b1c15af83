"""The arguments and options that verbs share, and how they refuse wrong ones."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from ablate.core.io import find_json

StudyFile = Annotated[Path, typer.Argument(help="The study: a YAML file.", metavar="FILE")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings to replace, such as budget.steps=60.", metavar="a.b=c"),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, help="Trials at once. Default: one per GPU, or one per CPU core."),
]
Ranks = Annotated[int, typer.Option(min=1, help="Processes per trial, one GPU each.")]
Port = Annotated[
    int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1 (0 picks a free one).")
]
StudyName = Annotated[str, typer.Argument(help="A study, by name or file.", metavar="STUDY")]
Compared = Annotated[
    str, typer.Argument(help="A study, by name or file, or a saved plan.json.", metavar="STUDY")
]
RunName = Annotated[str, typer.Argument(help="A fingerprint or a prefix of one.", metavar="RUN")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]


def refuse(message: str) -> NoReturn:
    """Says on stderr what is wrong, and ends the program with exit code 2."""
    typer.echo(message, err=True)
    raise typer.Exit(2)


@contextmanager
def refusing() -> Iterator[None]:
    """Refuses what is raised inside about a file that is damaged: its words say the way out."""
    try:
        yield
    except ValueError as error:
        refuse(str(error))


def say(lines: Iterable[str]) -> None:
    """Prints lines."""
    for line in lines:
        typer.echo(line)


def saved_plans() -> dict[str, Path]:
    """Finds the plan.json of every study that has been run here, by the study's name."""
    from ablate.runs import store

    found = sorted(store.get_folders().reports.glob("*/plan.json"))
    return {path.parent.name: path for path in found}


def saved_plan(study: str) -> dict[str, Any]:
    """Reads the saved plan of a study, which is given by its name or its file; refuses others."""
    from ablate.core.suggest import did_you_mean
    from ablate.runs import store

    saved, name = saved_plans(), study_name(study)
    if name not in saved:
        where = store.get_folders().reports
        refuse(f"no plan of a study `{name}` in {where}{did_you_mean(name, saved)}")
    with refusing():
        return find_json(saved[name]) or {}


def plan_or_crew(study: str) -> dict[str, Any] | None:
    """Reads a saved plan; None where a cluster sweeps for one that is not there yet.

    Refuses a study of which there is neither.
    """
    from ablate.runs import store
    from ablate.slurm import sweep_workers

    swept = study_name(study) in sweep_workers.studies(store.get_folders().reports)
    return None if swept and study_name(study) not in saved_plans() else saved_plan(study)


def plan_named(study: str) -> dict[str, Any]:
    """Reads a saved plan, given by its own path or by its study; refuses what is no plan."""
    if not study.endswith(".json"):
        return saved_plan(study)
    plan = find_json(Path(study))  # the verb refuses what is no JSON
    if plan is None or "trials" not in plan:
        problem = "no such file" if plan is None else "not a study's plan"
        refuse(f"{study}: {problem}; a report's folder holds its plan.json")
    return plan


def study_name(study: str) -> str:
    """Returns the name of a study that is given by its name or its file, which holds it."""
    if not is_file(study):
        return study
    from ablate.config import loader
    from ablate.config.study import StudyError

    try:
        name = loader.read(Path(study)).at(["study"])
    except StudyError as error:
        refuse(str(error))
    return str(name.value) if name is not None else Path(study).stem


def is_file(study: str) -> bool:
    """Tells a study's file from its name."""
    return study.endswith((".yaml", ".yml"))


def run_folder(fingerprint: str) -> Path:
    """Finds the one run folder whose name begins so; refuses where there is none, or several."""
    from ablate.runs import store

    with refusing():
        return store.find_run(store.get_folders().runs, fingerprint)
