"""The command that writes the manifest of a data set, and looks for sounds that are in it twice."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import typer

from ablate.cli.options import fail, print_lines


def manifest(
    folder: Annotated[
        Path, typer.Argument(help="Folder of an unpacked data set; with --duplicates, a manifest.")
    ],
    layout: Annotated[
        str | None,
        typer.Option(
            help="Layout of the folder: subfolder, flat, esc50, speech_commands, fsd50k, audioset, "
            "urbansound8k, nsynth, gtzan, vocalsound, crema_d, fma or voxceleb."
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Group clips by this regex; a group never spans two splits."),
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Layout flat: regex that matches the label in each path.")
    ] = None,
    split_by: Annotated[
        str | None,
        typer.Option(help="Regex that matches the split in each path, such as `train` or `eval`."),
    ] = None,
    test: Annotated[
        str | None, typer.Option(help="Regex that matches the paths of test clips; others train.")
    ] = None,
    valid: Annotated[
        str | None,
        typer.Option(help="With --test: regex that matches the paths of validation clips."),
    ] = None,
    shares: Annotated[str, typer.Option(help="Shares of train, valid and test.")] = "6:2:2",
    folds: Annotated[int | None, typer.Option(help="Write this many folds, not splits.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the random split.")] = 0,
    name: Annotated[
        str, typer.Option(help="Name of the manifest, which is written into the folder.")
    ] = "manifest.csv",
    duplicates: Annotated[
        bool,
        typer.Option("--duplicates", help="Look for files with the same sound; decodes all files."),
    ] = False,
) -> None:
    """Write the manifest of a data set: a CSV file of paths, labels and splits."""
    from ablate.audio.manifest_splits import SplitOptions, parse_shares
    from ablate.audio.manifest_summary import summarize_manifest
    from ablate.audio.manifest_writer import LAYOUTS, write_manifest

    if layout is None and duplicates:
        _print_duplicates(folder / "manifest.csv" if folder.is_dir() else folder)
        return
    try:
        if layout is None:
            names = "\n".join(f"  {name}: {tree}" for name, tree in LAYOUTS.items())
            raise ValueError(f"pass `--layout`, one of\n{names}")
        options = SplitOptions(
            group=group,
            split_by=split_by,
            test=test,
            valid=valid,
            shares=parse_shares(shares),
            folds=folds,
            seed=seed,
        )
        written, warning, notes = write_manifest(folder, layout, options, label=label, name=name)
    except ValueError as error:
        fail(str(error))
    typer.echo(f"wrote {written}")
    print_lines(f"passed over: {note}" for note in notes)
    if warning:
        typer.echo(f"warning: {warning}")
    _print_with_progress(lambda update: summarize_manifest(written, update))
    if duplicates:
        _print_duplicates(written)


def _print_duplicates(manifest: Path) -> None:
    from ablate.audio.manifest_reader import check_manifest_exists
    from ablate.audio.near_duplicates import describe_same_sounds

    try:
        check_manifest_exists(manifest)
        _print_with_progress(lambda update: describe_same_sounds(manifest, update))
    except ValueError as error:
        fail(str(error))


def _print_with_progress(describe: Callable[[Callable[[int, int], None]], Iterable[str]]) -> None:
    """Prints the lines of a description that takes long; it is given a function for progress."""
    from ablate.core.records.messages import ProgressMessage
    from ablate.executors import progress

    with progress.progress_bar(progress.create_console(), "reading files") as update:
        lines = list(describe(lambda done, total: update(ProgressMessage(done=done, total=total))))
    print_lines(lines)
