"""Draws and measures every masker of a package, on one clip and on each grid."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

from torch import Tensor

from ablate.core.io import write_atomically
from ablate.core.part_classes import get_class_path
from ablate.core.records.benchmarks import NamedMasker
from ablate.core.records.messages import (
    DrawnMasker,
    GridMasks,
    MaskerEntry,
    MaskersReply,
    ProgressMessage,
    ZooReply,
    ZooRequest,
)
from ablate.core.suggest import did_you_mean
from ablate.mask_analysis.pictures import cut_patches, draw_counts, draw_masks
from ablate.mask_analysis.sample_audio import SampleAudio
from ablate.mask_analysis.statistics import MaskStatistics, measure
from ablate.model.masking import AbstractMasker, Grid
from ablate.parts import PartError, Problem, build, resolve
from ablate.worker.datasets import Emit

# settings in a docstring, as YAML: in a sentence, or in a section `Example:`
EXAMPLE = re.compile(r"For example `([^`]+)`")
EXAMPLE_SECTION = re.compile(r"Example:\n\s+masker: \{type: [\w.]+,\s+(.+?)\}\s*(?:\n\n|\Z)", re.S)


def list_maskers(package: str) -> MaskersReply:
    """Lists the maskers in the `__all__` of a package, with their documentation.

    Raises `PartError` if there is no such package, or no masker in it.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name and not (package + ".").startswith(error.name + "."):
            raise  # the package exists; a module that it imports does not
        raise _package_error(f"no module `{error.name}` on Python's path") from error
    names = getattr(module, "__all__", None)
    if names is None:
        raise _package_error(f"`{package}` has no `__all__`; list its maskers there")
    if missing := [name for name in names if not hasattr(module, name)]:
        hint = did_you_mean(missing[0], vars(module))
        raise _package_error(f"`{package}.__all__` names `{missing[0]}`, which is missing{hint}")
    maskers = [_describe(name, part) for name in names if _is_masker(part := vars(module)[name])]
    if not maskers:
        raise _package_error(f"`{package}` lists no masker in its `__all__`")
    return MaskersReply(maskers=tuple(maskers))


def draw_zoo(request: ZooRequest, emit: Emit) -> ZooReply:
    """Draws and measures maskers on every grid.

    Raises `PartError` for audio that cannot be read.
    """
    try:
        clip = SampleAudio.load(None if request.audio is None else str(request.audio))
    except ValueError as error:
        raise PartError([Problem(("audio",), str(error))]) from error
    grids = [Grid(*sizes) for sizes in request.grids]
    drawn = []
    for done, masker in enumerate(request.maskers):
        emit(ProgressMessage(label=masker.name, done=done, total=len(request.maskers)))
        drawn.append(_draw_masker(request.folder, masker, grids, clip))
    return ZooReply(clip=clip.title, grids=tuple(str(grid) for grid in grids), maskers=tuple(drawn))


def _describe(name: str, part: type[AbstractMasker]) -> MaskerEntry:
    text = inspect.getdoc(part) or ""
    needs = [
        field.name
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
        if field.init and field.default is field.default_factory is dataclasses.MISSING
    ]
    examples = EXAMPLE.findall(text)
    if needs and not examples:
        examples = EXAMPLE_SECTION.findall(text)
    return MaskerEntry(
        name=name,
        type=get_class_path(part),
        about=" ".join(text.partition("\n\n")[0].split()),
        needs=tuple(needs),
        examples=tuple(" ".join(example.split()) for example in examples),
    )


def _draw_masker(
    folder: Path, entry: NamedMasker, grids: list[Grid], clip: SampleAudio
) -> DrawnMasker:
    try:
        masker = build(entry.settings, expect=AbstractMasker)
    except PartError as error:
        return DrawnMasker(
            name=entry.name,
            about=entry.about,
            settings=entry.settings,
            problem="; ".join(map(str, error.problems)),
        )
    declared = {
        key: value
        for key, value in dataclasses.asdict(masker.promises).items()
        if key != "context" and value not in (False, "", None)
    }
    return DrawnMasker(
        name=entry.name,
        about=entry.about,
        settings=resolve(masker),
        problem=None,
        declared=declared,
        grids=tuple(_draw_on_grid(folder, entry.name, masker, grid, clip) for grid in grids),
    )


def _draw_on_grid(
    folder: Path, name: str, masker: AbstractMasker, grid: Grid, clip: SampleAudio
) -> GridMasks:
    mel = clip.mel(grid)
    content = None if masker.promises.needs is None else clip.content(grid)
    try:
        statistics = measure(masker, grid, content=content)
        picture = draw_masks(masker, grid, mel, cut_patches(mel, grid))
    except (ValueError, AssertionError) as error:  # an unsupported grid, or a broken promise
        return GridMasks(grid=str(grid), problem=str(error))
    stem = f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)}--{grid}"
    write_atomically(folder / f"{stem}.png", picture)
    write_atomically(folder / f"{stem}--counts.png", _draw_counts(statistics))
    return GridMasks(
        grid=str(grid),
        problem=None,
        masks=f"{stem}.png",
        counts=f"{stem}--counts.png",
        figures=statistics.to_dict(),
    )


def _draw_counts(statistics: MaskStatistics) -> bytes:
    lengths: dict[str, tuple[Tensor, Tensor]] = {
        "freq": (statistics.freq_runs, statistics.block_heights),
        "time": (statistics.time_runs, statistics.block_widths),
    }
    visits = {"context": statistics.context_visits, "target": statistics.target_visits}
    return draw_counts(visits, lengths)


def _is_masker(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, AbstractMasker)


def _package_error(message: str) -> PartError:
    return PartError([Problem(("package",), message)])
