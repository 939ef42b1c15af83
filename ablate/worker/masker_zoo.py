"""Lists the maskers of a package, and draws and measures each on one clip and several grids."""

import dataclasses
import importlib
import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from ablate.core.io import write_atomically
from ablate.core.part_classes import get_class_path
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


def list_maskers(package: str) -> dict[str, Any]:
    """Lists the maskers in the `__all__` of a package, with their documentation.

    Raises:
        PartError: The package does not exist or lists no masker.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name and not (package + ".").startswith(error.name + "."):
            raise  # the package exists, but a module that it imports does not
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
    return {"maskers": maskers}


def draw_zoo(
    folder: Path,
    maskers: Sequence[Mapping[str, Any]],
    grids: Sequence[Grid],
    audio: str | None,
    emit: Emit,
) -> dict[str, Any]:
    """Draws and measures maskers on every grid.

    Args:
        folder: Where to write the pictures.
        maskers: Entries with a `name` and `settings`.
        grids: The grids to draw on.
        audio: Audio file to draw on; None for a synthetic clip.
        emit: Called with progress events.

    Returns:
        The entries of `maskers`, with complete settings and one entry per grid: its pictures,
        relative to `folder`, and its statistics, or the reason why they are missing.

    Raises:
        PartError: The audio file cannot be read.
    """
    try:
        audio_sample = SampleAudio.load(audio)
    except ValueError as error:
        raise PartError([Problem(("audio",), str(error))]) from error
    results = []
    for done, entry in enumerate(maskers):
        emit({"event": "progress", "label": entry["name"], "done": done, "total": len(maskers)})
        results.append({**entry, **_draw_masker(folder, entry, grids, audio_sample)})
    return {"clip": audio_sample.title, "grids": [str(grid) for grid in grids], "maskers": results}


def _describe(name: str, part: type[AbstractMasker]) -> dict[str, Any]:
    text = inspect.getdoc(part) or ""
    needs = [
        field.name
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
        if field.init and field.default is field.default_factory is dataclasses.MISSING
    ]
    examples = EXAMPLE.findall(text)
    if needs and not examples:
        examples = EXAMPLE_SECTION.findall(text)
    return {
        "name": name,
        "type": get_class_path(part),
        "about": " ".join(text.partition("\n\n")[0].split()),
        "needs": needs,
        "examples": [" ".join(example.split()) for example in examples],
    }


def _draw_masker(
    folder: Path, entry: Mapping[str, Any], grids: Sequence[Grid], audio: SampleAudio
) -> dict[str, Any]:
    try:
        masker = build(entry["settings"], expect=AbstractMasker)
    except PartError as error:
        return {"refused": "; ".join(map(str, error.problems)), "grids": []}
    promises = masker.promises
    return {
        "refused": None,
        "settings": resolve(masker),
        "declared": {
            key: value
            for key, value in dataclasses.asdict(promises).items()
            if key != "context" and value not in (False, "", None)
        },
        "grids": [_draw_on_grid(folder, entry["name"], masker, grid, audio) for grid in grids],
    }


def _draw_on_grid(
    folder: Path, name: str, masker: AbstractMasker, grid: Grid, audio: SampleAudio
) -> dict[str, Any]:
    mel = audio.mel(grid)
    content = None if masker.promises.needs is None else audio.content(grid)
    try:
        statistics = measure(masker, grid, content=content)
        picture = draw_masks(masker, grid, mel, cut_patches(mel, grid))
    except (ValueError, AssertionError) as error:  # the grid is refused, or a promise broken
        return {"grid": str(grid), "refused": str(error)}
    stem = f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)}--{grid}"
    write_atomically(folder / f"{stem}.png", picture)
    write_atomically(folder / f"{stem}--counts.png", _draw_statistics(statistics))
    return {
        "grid": str(grid),
        "refused": None,
        "masks": f"{stem}.png",
        "counts": f"{stem}--counts.png",
        "figures": statistics.to_dict(),
    }


def _draw_statistics(statistics: MaskStatistics) -> bytes:
    visits = {"context": statistics.context_visits, "target": statistics.target_visits}
    lengths: dict[str, tuple[Tensor, Tensor]] = {
        "freq": (statistics.freq_runs, statistics.block_heights),
        "time": (statistics.time_runs, statistics.block_widths),
    }
    return draw_counts(visits, lengths)


def _is_masker(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, AbstractMasker)


def _package_error(message: str) -> PartError:
    return PartError([Problem(("package",), message)])
