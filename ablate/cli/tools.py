"""Commands for data sets, encoders, maskers and benchmarks, and for a first study file."""

from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.examples import format_examples
from ablate.cli.options import (
    Conditions,
    Json,
    RunOrStudy,
    fail,
    find_run_folder,
    print_lines,
)

Package = Annotated[str, typer.Argument(help="Package that lists maskers in `__all__`.")]
GridSize = Annotated[str, typer.Option(help="Grid size: patches in frequency x patches in time.")]

bench = typer.Typer(no_args_is_help=True, help="Measure the cost of training steps and of masks.")


def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("studies/mine.yaml"),
    source: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Copy this file of the package instead: masking, recipes/a_jepa, slurm/gpu ...",
            metavar="NAME",
        ),
    ] = None,
) -> None:
    """Write an example study with comments that explain its keys, or a copy of a shipped file."""
    from ablate.config import template

    try:
        if source is None:
            typer.echo(f"wrote {template.write_template(file)}; next: ablate plan {file}")
        else:
            typer.echo(f"wrote {template.copy_package_file(source, file)}")
    except ValueError as error:
        fail(str(error))


def export(
    run: RunOrStudy,
    to: Annotated[Path, typer.Option(help="Folder to write to.")],
    conditions: Conditions = None,
    license: Annotated[
        str, typer.Option(help="Licence in the model card, such as mit.")
    ] = "unknown",
    dataset: Annotated[
        list[str] | None, typer.Option(help="Data set in the model card; may be repeated.")
    ] = None,
    citation: Annotated[
        Path | None, typer.Option(help="BibTeX file to quote in the model card.")
    ] = None,
    benchmark: Annotated[
        list[str] | None,
        typer.Option(
            help="List the scores of a task on a leaderboard of the Hugging Face Hub; may be "
            "repeated.",
            metavar="TASK=OWNER/DATASET:TASK_ID",
        ),
    ] = None,
    with_source: Annotated[
        bool, typer.Option("--with-source", help="Copy the Python files of your own parts, too.")
    ] = False,
) -> None:
    """Export a run's trained encoder to a folder that `ablate.load_encoder` can load."""
    from ablate.core.records.export import Benchmark, CardDetails
    from ablate.export.export import export_encoder, format_usage

    try:
        text = citation.read_text(encoding="utf-8").strip() if citation else ""
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{citation} cannot be read: {error}")
    try:
        benchmarks = tuple(map(Benchmark.parse, benchmark or ()))
        card = CardDetails(license, tuple(dataset or ()), text, benchmarks)
        folder = export_encoder(find_run_folder(run, conditions), to, card, with_source=with_source)
        typer.echo(f"wrote {folder}; to use it:\n")
    except OSError as error:
        fail(f"{error.filename or to}: {error.strerror}")
    except ValueError as error:
        fail(str(error))
    print_lines(f"    {line}" for line in format_usage(to))


def features(
    run: Annotated[
        str,
        typer.Argument(
            help="Fingerprint of a run, its first characters, or an exported folder.",
            metavar="RUN",
        ),
    ],
    sounds: Annotated[
        str,
        typer.Argument(help="Folder of audio files, or a quoted pattern.", metavar="FOLDER"),
    ],
    to: Annotated[Path, typer.Option(help="Table to write: .parquet or .npz.")],
    view: Annotated[
        str, typer.Option(help="Layer and pooling, such as layer3.mean.")
    ] = "concat_freq",
    device: Annotated[str, typer.Option(help="Device to run on: cpu or cuda.")] = "cpu",
    skip_bad_audio: Annotated[
        bool, typer.Option("--skip-bad-audio", help="Leave out files that cannot be decoded.")
    ] = False,
) -> None:
    """Write one feature vector per audio file to a table; a repeated call continues."""
    from ablate.cli.features import compute_features, find_encoder
    from ablate.core.records.messages import FeaturesRequest
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    request = FeaturesRequest(
        encoder=find_encoder(run),
        sounds=sounds,
        table=to,
        view=view,
        device=device,
        skip_bad_audio=skip_bad_audio,
    )
    raise typer.Exit(compute_features(request))


def zoo(
    package: Package = "maskers",
    grid: GridSize = "8x64",
    audio: Annotated[
        Path | None,
        typer.Option(help="Audio file to mask. Default: a synthetic clip."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write to. Default: reports/zoo/PACKAGE.")
    ] = None,
) -> None:
    """Print statistics of a package's maskers, and write a gallery of their masks."""
    from ablate.cli import zoo as cli_zoo
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(cli_zoo.show_zoo(package, grid=grid, audio=audio, out=out))


@bench.command("steps", epilog=format_examples("steps"))
def bench_steps(
    study: Annotated[
        Path | None,
        typer.Argument(help="Study whose variants to time. Default: built-in ones."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device to run on: cpu or cuda.")] = "cpu",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips per step. Default: as in the study.")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=0, help="Approximate duration of the measurement.")
    ] = 60.0,
    output: Annotated[
        Path | None, typer.Option("--json", help="JSON file to write the measurements to.")
    ] = None,
) -> None:
    """Time the training steps of a study's variants, or of built-in variants."""
    from ablate.cli.bench import benchmark_steps
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(
        benchmark_steps(study, device=device, batch=batch, seconds=seconds, output=output)
    )


@bench.command("loader", epilog=format_examples("loader"))
def bench_loader(
    study: Annotated[
        Path | None,
        typer.Argument(help="Study whose first variant to load. Default: clips of 10 seconds."),
    ] = None,
    device: Annotated[str, typer.Option(help="Device to load to: cpu or cuda.")] = "cpu",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Clips per step. Default: as in the study.")
    ] = None,
) -> None:
    """Time how fast batches of clips and masks are loaded."""
    from ablate.cli.bench_loader import benchmark_loader
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(benchmark_loader(study, device=device, batch=batch))


@bench.command("maskers", epilog=format_examples("maskers"))
def bench_maskers(
    package: Package = "maskers",
    grid: GridSize = "8x64",
    batch: Annotated[int, typer.Option(min=1, help="Clips per draw.")] = 256,
    slow: Annotated[bool, typer.Option("--slow", help="Time maskers declared slow, too.")] = False,
    as_json: Json = False,
) -> None:
    """Time the maskers of a package against one uniform draw of the same size."""
    from ablate.cli.bench import benchmark_maskers
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(benchmark_maskers(package, grid=grid, batch=batch, slow=slow, as_json=as_json))


@bench.command("peers", epilog=format_examples("peers"))
def bench_peers(
    folder: Annotated[
        Path, typer.Argument(help="Folder with the checkouts `ijepa` and `Audio-JEPA`.")
    ],
    device: Annotated[str, typer.Option(help="Device to run on: cpu or cuda.")] = "cpu",
    seconds: Annotated[
        float, typer.Option(min=0, help="Approximate duration for each of two sizes of model.")
    ] = 120.0,
    as_json: Json = False,
) -> None:
    """Compare training steps with those of I-JEPA's and Audio-JEPA's own code."""
    from ablate.cli.bench_peers import benchmark_peers
    from ablate.study.exit_codes import interrupt_on_signals

    interrupt_on_signals()
    raise typer.Exit(benchmark_peers(folder, device=device, seconds=seconds, as_json=as_json))
