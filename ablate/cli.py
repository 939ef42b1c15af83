"""The verbs of the console script `ablate`. Nothing heavy is imported until a verb needs it."""

import importlib.util
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

app = typer.Typer(
    help="Find out, and prove, which mask and which patch make an audio JEPA learn.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

StudyFile = Annotated[Path, typer.Argument(help="A study, a YAML file.", metavar="FILE")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="Settings to replace.", metavar="[a.b=c]...")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Default: one a GPU, or one a CPU core.")]
Package = Annotated[str, typer.Argument(help="Whose `__all__` lists maskers.")]
GridSize = Annotated[str, typer.Option(help="Patches in frequency by patches in time.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Of 127.0.0.1; 0: any that is free.")]
StudyName = Annotated[str, typer.Argument(help="A study's name.", metavar="STUDY")]
RunName = Annotated[str, typer.Argument(help="A fingerprint, or how it begins.")]


def main() -> None:
    """Is what the console script `ablate` calls."""
    app()


@app.command()
def run(
    file: StudyFile,
    overrides: Overrides = None,
    workers: Workers = None,
    retry_failed: Annotated[bool, typer.Option(help="Run failed trials again.")] = False,
    slurm: Annotated[str | None, typer.Option(help="The cluster of slurm/NAME.yaml.")] = None,
    watch: Annotated[bool, typer.Option(help="With --slurm: follow the jobs.")] = False,
    dry_run: Annotated[bool, typer.Option(help="With --slurm: show the jobs.")] = False,
) -> None:
    """Plan a study, run what is missing, and report."""
    from ablate import study
    from ablate.launching.where import Asked

    study.listen_for_endings()
    where = Asked(slurm, watch, dry_run)
    given = overrides or []
    code = study.run(file, given, workers=workers, retry_failed=retry_failed, where=where)
    raise typer.Exit(code)


@app.command()
def plan(file: StudyFile, overrides: Overrides = None) -> None:
    """Check a study and show what it would run. Nothing is run."""
    from ablate import study

    study.listen_for_endings()
    raise typer.Exit(study.show(file, overrides or []))


@app.command()
def status(
    name: Annotated[str | None, typer.Argument(help="A study's name. Default: all.")] = None,
) -> None:
    """Show what is done of a study, from its saved plan and its run folders."""
    from ablate.launching import attendance, ledger, overview
    from ablate.text import did_you_mean

    folders = ledger.folders()
    saved = {path.parent.name: path for path in sorted(folders.reports.glob("*/plan.json"))}
    if name is not None and name not in saved:
        _refuse(f"no study `{name}` has a plan in {folders.reports}{did_you_mean(name, saved)}")
    for study, path in saved.items():
        if name in (None, study) and (content := ledger.read_json(path)) is not None:
            queued = attendance.queue(content, folders.runs)
            for line in (*overview.status(content, folders.runs), *queued):
                typer.echo(line)


@app.command()
def cancel(
    name: StudyName,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Take a study's jobs out of a cluster's queue."""
    from ablate.launching import attendance, commands, ledger, queueing

    try:
        jobs = attendance.queued(_plan(name), ledger.folders().runs)
        for folder, job in jobs.items():
            typer.echo(f"  {folder.name}  job {job.job}")
        if not jobs:
            typer.echo("nothing of it is in the queue")
        elif yes or typer.confirm(f"cancel these {len(jobs)} runs?"):
            queueing.cancel(jobs.values())
            typer.echo(f"cancelled {len(jobs)} runs; what they saved is kept")
    except commands.RefusedError as error:
        _refuse(str(error))


@app.command()
def retry(
    name: StudyName,
    kinds: Annotated[
        list[str] | None, typer.Argument(help="Only failures of these kinds: node, timeout, oom.")
    ] = None,
) -> None:
    """Let failed runs of a study be tried again."""
    from ablate.launching import attendance, ledger

    lines = attendance.release(_plan(name), ledger.folders().runs, kinds or [])
    for line in lines:
        typer.echo(line)
    typer.echo(f"{len(lines)} runs will be tried again when the study is run")


@app.command()
def doctor(
    slurm: Annotated[str, typer.Option(help="A profile: the cluster of slurm/NAME.yaml.")],
) -> None:
    """Submit one tiny job and say what is wrong with the site or the profile."""
    from ablate.launching import doctor as door
    from ablate.launching import ledger, profile
    from ablate.schema import StudyError

    try:
        found = profile.load(slurm)
    except StudyError as error:
        _refuse(str(error))
    raise typer.Exit(
        0 if door.examine(found, ledger.folders().reports / "doctor", typer.echo) else 1
    )


@app.command()
def logs(
    fingerprint: RunName,
    lines: Annotated[int | None, typer.Option("-n", min=1, help="The last lines only.")] = None,
) -> None:
    """Print the log of a run's last attempt."""
    folder = _find(fingerprint)
    found = sorted(folder.glob("attempts/*/log.txt"))
    if not found:
        _refuse(f"{folder} has no log yet")
    text = found[-1].read_text(encoding="utf-8", errors="replace").splitlines()
    for line in text[-lines:] if lines else text:
        typer.echo(line)


@app.command("why-different")
def why_different(one: RunName, other: RunName) -> None:
    """Show the settings in which two runs differ."""
    from ablate.launching import ledger, overview

    folders = _find(one), _find(other)
    first, second = (ledger.read_json(folder / "config.json") or {} for folder in folders)
    found = overview.changes(
        {"kind": first["kind"], **first["settings"]}, {"kind": second["kind"], **second["settings"]}
    )
    typer.echo(f"{folders[0].name} -> {folders[1].name}: {len(found)} settings differ")
    for line in found:
        typer.echo(f"  {line}")


@app.command()
def manifest(
    folder: Annotated[Path, typer.Argument(help="A data set as it was unpacked.")],
    layout: Annotated[
        str, typer.Option(help="subfolder, esc50, speech_commands, fsd50k or audioset")
    ],
) -> None:
    """Write the manifest of a data set: a CSV of paths, labels and splits."""
    from ablate.audio.manifest import write_manifest

    try:
        typer.echo(f"wrote {write_manifest(folder, layout)}")
    except ValueError as error:
        _refuse(str(error))


@app.command()
def zoo(
    package: Package = "maskers",
    grid: GridSize = "8x64",
    audio: Annotated[
        Path | None, typer.Option(help="A sound file to draw on. Default: a synthetic clip.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write. Default: reports/zoo/PACKAGE.")
    ] = None,
) -> None:
    """Show a package's maskers: a table of figures, and a gallery as PNG and HTML."""
    from ablate import study
    from ablate import zoo as door

    study.listen_for_endings()
    raise typer.Exit(door.show(package, grid=grid, audio=audio, out=out))


@app.command()
def dashboard(file: StudyFile, overrides: Overrides = None, port: Port = 8080) -> None:
    """Show a study's trials and sweeps in a browser: Optuna's dashboard, on 127.0.0.1."""
    if importlib.util.find_spec("optuna_dashboard") is None:
        _refuse("the dashboard is not installed: pip install 'ablate[dashboard]'")
    from ablate import dashboard as door
    from ablate import study

    study.listen_for_endings()
    raise typer.Exit(door.show(file, overrides or [], port=port))


@app.command()
def tensorboard(file: StudyFile, overrides: Overrides = None, port: Port = 6006) -> None:
    """Show a study's curves and masks in a browser: TensorBoard, on 127.0.0.1."""
    from ablate import board as door
    from ablate import study

    study.listen_for_endings()
    raise typer.Exit(door.show(file, overrides or [], port=port))


bench = typer.Typer(no_args_is_help=True)
app.add_typer(bench, name="bench", help="Measure what something costs.")


@bench.callback()
def _several() -> None:
    """Measure what something costs."""  # with a callback, the one verb keeps its name


@bench.command("maskers")
def bench_maskers(
    package: Package = "maskers",
    grid: GridSize = "8x64",
    batch: Annotated[int, typer.Option(min=1, help="Clips a draw.")] = 256,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")] = False,
) -> None:
    """Time a package's maskers beside one uniform draw of the same size."""
    from ablate import bench as door
    from ablate import study

    study.listen_for_endings()
    raise typer.Exit(door.maskers(package, grid=grid, batch=batch, as_json=as_json))


def _plan(name: str) -> dict[str, Any]:
    from ablate.launching import ledger
    from ablate.text import did_you_mean

    reports = ledger.folders().reports
    found = ledger.read_json(reports / name / "plan.json")
    if found is None:
        known = [path.parent.name for path in reports.glob("*/plan.json")]
        _refuse(f"no study `{name}` has a plan in {reports}{did_you_mean(name, known)}")
    return found


def _find(fingerprint: str) -> Path:
    from ablate.launching import ledger

    try:
        return ledger.find(ledger.folders().runs, fingerprint)
    except ValueError as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)
