"""The verbs about sound, encoders and maskers, which need no study; and how a study begins."""

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import Json, RunName, refuse, run_folder, say

Package = Annotated[str, typer.Argument(help="A package that lists maskers in `__all__`.")]
GridSize = Annotated[str, typer.Option(help="The grid: patches in frequency x patches in time.")]

bench = typer.Typer(no_args_is_help=True)


def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("studies/mine.yaml"),
) -> None:
    """Write a starter study with its keys explained."""
    from ablate.config import template

    try:
        typer.echo(f"wrote {template.write(file)}; next: ablate plan {file}")
    except ValueError as error:
        refuse(str(error))


def manifest(
    folder: Annotated[Path, typer.Argument(help="An unpacked data set.")],
    layout: Annotated[
        str, typer.Option(help="subfolder, esc50, speech_commands, fsd50k or audioset")
    ],
    group: Annotated[
        str | None,
        typer.Option(help="Keep clips in one split whose paths give the same match of this regex."),
    ] = None,
) -> None:
    """Write the manifest of a data set: a CSV of paths, labels and splits."""
    from ablate.audio.manifest_summary import summarize_manifest
    from ablate.audio.manifest_writer import write_manifest
    from ablate.executors import progress

    try:
        written, warning = write_manifest(folder, layout, group)
    except ValueError as error:
        refuse(str(error))
    typer.echo(f"wrote {written}")
    if warning:
        typer.echo(f"warning: {warning}")
    with progress.progress_bar(progress.create_console(), "reading files") as heard:
        lines = list(
            summarize_manifest(written, lambda done, total: heard({"done": done, "total": total}))
        )
    say(lines)


def export(
    run: RunName,
    to: Annotated[Path, typer.Option(help="The folder to write.")],
) -> None:
    """Write a run's trained encoder into a folder that `ablate.load_encoder` reads."""
    from ablate.export import export as export_encoder

    try:
        typer.echo(f"wrote {export_encoder.export(run_folder(run), to)}; to use it:\n")
    except ValueError as error:
        refuse(str(error))
    say(f"    {line}" for line in export_encoder.use(to))


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
    """Show a package's maskers: a table of statistics, and a gallery as PNG and HTML."""
    from ablate.cli import zoo as door
    from ablate.study.exit_codes import listen_for_endings

    listen_for_endings()
    raise typer.Exit(door.show(package, grid=grid, audio=audio, out=out))


@bench.callback()
def _several() -> None:
    """Measure the cost of training steps and of masks."""


@bench.command("steps")
def bench_steps(
    study: Annotated[
        Path | None, typer.Argument(help="A study whose variants to time. Default: built-in ones.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips per step. Default: the study's.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long to measure.")] = 60.0,
    into: Annotated[
        Path | None, typer.Option("--json", help="Write the measurements to this file.")
    ] = None,
) -> None:
    """Time the training steps of a study's variants: packed, padded, and plain."""
    from ablate.cli import bench_steps as door
    from ablate.study.exit_codes import listen_for_endings

    listen_for_endings()
    raise typer.Exit(door.steps(study, device=device, batch=batch, seconds=seconds, into=into))


@bench.command("maskers")
def bench_maskers(
    package: Package = "maskers",
    grid: GridSize = "8x64",
    batch: Annotated[int, typer.Option(min=1, help="Clips per draw.")] = 256,
    as_json: Json = False,
) -> None:
    """Time a package's maskers against one uniform draw of the same size."""
    from ablate.cli import bench as door
    from ablate.study.exit_codes import listen_for_endings

    listen_for_endings()
    raise typer.Exit(door.maskers(package, grid=grid, batch=batch, as_json=as_json))
