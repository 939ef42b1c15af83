"""The verbs of the console script `ablate`. Nothing heavy is imported until a verb needs it."""

from pathlib import Path
from typing import Annotated, NoReturn

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
) -> None:
    """Plan a study, run what is missing, and report."""
    from ablate import study

    study.listen_for_endings()
    code = study.run(file, overrides or [], workers=workers, retry_failed=retry_failed)
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
    from ablate.launching import ledger, overview
    from ablate.text import did_you_mean

    folders = ledger.folders()
    saved = {path.parent.name: path for path in sorted(folders.reports.glob("*/plan.json"))}
    if name is not None and name not in saved:
        _refuse(f"no study `{name}` has a plan in {folders.reports}{did_you_mean(name, saved)}")
    for study, path in saved.items():
        if name in (None, study) and (content := ledger.read_json(path)) is not None:
            for line in overview.status(content, folders.runs):
                typer.echo(line)


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


def _find(fingerprint: str) -> Path:
    from ablate.launching import ledger

    try:
        return ledger.find(ledger.folders().runs, fingerprint)
    except ValueError as error:
        _refuse(str(error))


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(2)
