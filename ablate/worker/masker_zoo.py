"""The zoo on show: every masker of a package, drawn on one clip and measured on each grid."""

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
from ablate.mask_analysis.pictures import draw_counts, draw_masks, patches
from ablate.mask_analysis.sample_audio import Exhibit
from ablate.mask_analysis.statistics import MaskStatistics, measure
from ablate.model.masking import AbstractMasker, Grid
from ablate.parts import PartError, Problem, build, resolve
from ablate.worker.datasets import Emit

EXAMPLE = re.compile(r"For example `([^`]+)`")  # in a docstring: settings, as a study writes them


def list_maskers(package: str) -> dict[str, Any]:
    """Lists the maskers that a package offers in its `__all__`, with their documentation.

    Raises `PartError` where there is no such package, or none in it.
    """
    try:
        module = importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name and not (package + ".").startswith(error.name + "."):
            raise  # the package exists; something that it needs does not
        raise _refused(f"no module `{error.name}` on Python's path") from error
    offered = getattr(module, "__all__", None)
    if offered is None:
        raise _refused(f"`{package}` has no `__all__`; list its maskers there")
    if missing := [name for name in offered if not hasattr(module, name)]:
        known = did_you_mean(missing[0], vars(module))
        raise _refused(f"`{package}.__all__` names `{missing[0]}`, which does not exist{known}")
    found = [_described(name, part) for name in offered if _is_masker(part := vars(module)[name])]
    if not found:
        raise _refused(f"`{package}` lists no masker in its `__all__`")
    return {"maskers": found}


def draw_zoo(
    folder: Path,
    maskers: Sequence[Mapping[str, Any]],
    grids: Sequence[Grid],
    audio: str | None,
    emit: Emit,
) -> dict[str, Any]:
    """Draws and measures `maskers`, each a `name` with its `settings`, on every grid.

    Returns what stands in `maskers`, with settings written out and an entry a grid: its
    pictures, relative to `folder`, and its figures, or why there are none. Raises `PartError`
    for audio that cannot be read.
    """
    try:
        exhibit = Exhibit.of(audio)
    except ValueError as error:
        raise PartError([Problem(("audio",), str(error))]) from error
    shown = []
    for done, entry in enumerate(maskers):
        emit({"event": "progress", "label": entry["name"], "done": done, "total": len(maskers)})
        shown.append({**entry, **_shown(folder, entry, grids, exhibit)})
    return {"clip": exhibit.title, "grids": [str(grid) for grid in grids], "maskers": shown}


def _described(name: str, part: type[AbstractMasker]) -> dict[str, Any]:
    text = inspect.getdoc(part) or ""
    needs = [
        field.name
        for field in dataclasses.fields(part)  # type: ignore[arg-type]
        if field.init and field.default is field.default_factory is dataclasses.MISSING
    ]
    return {
        "name": name,
        "type": get_class_path(part),
        "about": " ".join(text.partition("\n\n")[0].split()),
        "needs": needs,
        "examples": [" ".join(example.split()) for example in EXAMPLE.findall(text)],
    }


def _shown(
    folder: Path, entry: Mapping[str, Any], grids: Sequence[Grid], exhibit: Exhibit
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
        "grids": [_on(folder, entry["name"], masker, grid, exhibit) for grid in grids],
    }


def _on(
    folder: Path, name: str, masker: AbstractMasker, grid: Grid, exhibit: Exhibit
) -> dict[str, Any]:
    mel = exhibit.mel(grid)
    content = None if masker.promises.needs is None else exhibit.content(grid)
    try:
        found = measure(masker, grid, content=content)
        picture = draw_masks(masker, grid, mel, patches(mel, grid))
    except (ValueError, AssertionError) as error:  # it refuses the grid, or breaks a promise
        return {"grid": str(grid), "refused": str(error)}
    stem = f"{''.join(c if c.isalnum() or c in '-_.' else '_' for c in name)}--{grid}"
    write_atomically(folder / f"{stem}.png", picture)
    write_atomically(folder / f"{stem}--counts.png", _counts(found))
    return {
        "grid": str(grid),
        "refused": None,
        "masks": f"{stem}.png",
        "counts": f"{stem}--counts.png",
        "figures": found.plain(),
    }


def _counts(found: MaskStatistics) -> bytes:
    lengths: dict[str, tuple[Tensor, Tensor]] = {
        "freq": (found.freq_runs, found.block_heights),
        "time": (found.time_runs, found.block_widths),
    }
    return draw_counts({"context": found.context_visits, "target": found.target_visits}, lengths)


def _is_masker(part: object) -> bool:
    return isinstance(part, type) and issubclass(part, AbstractMasker)


def _refused(message: str) -> PartError:
    return PartError([Problem(("package",), message)])
