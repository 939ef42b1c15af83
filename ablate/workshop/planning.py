"""Everything that can be wrong with a trial, found before one is trained."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from ablate.model.masking import Grid, GridRefusedError
from ablate.parts import PartError, Problem, build, resolve
from ablate.probing.probe import AbstractProbe
from ablate.workshop.mask_statistics import realised_shares
from ablate.workshop.matching import Match, is_asked, matched, without
from ablate.workshop.subjects import (
    Sound,
    Subject,
    Trial,
    fingerprint,
    kind_of,
    num_parameters,
    open_sound,
)

Emit = Callable[[dict[str, Any]], None]


def plan(
    trials: list[dict[str, Any]], probes: dict[str, Any], cache: Path, emit: Emit
) -> dict[str, Any]:
    """Checks trials, opens their sound and resolves their settings.

    Returns what `trials` and `data` hold, as plain data; a trial's problems stand in its own
    entry. Raises `PartError` for probes that cannot be built.
    """
    build_probes(probes)
    sounds: dict[str, Sound] = {}
    entries = [_entry(settings, cache, emit, sounds) for settings in trials]
    data = [_describe(sound) for sound in sounds.values()]
    return {"trials": entries, "data": data, "probes": {n: _probe(s) for n, s in probes.items()}}


def build_probes(probes: Mapping[str, Any]) -> dict[str, AbstractProbe]:
    """Builds the probes of a study. Raises `PartError` with the problems of all."""
    built, problems = {}, []
    for name, settings in probes.items():
        try:
            built[name] = build(settings, expect=AbstractProbe, path=("probes", name))
        except PartError as error:
            problems.extend(error.problems)
    if problems:
        raise PartError(problems)
    return built


def _probe(settings: Mapping[str, Any]) -> dict[str, Any]:
    return resolve(build(settings, expect=AbstractProbe))


def _entry(
    settings: dict[str, Any], cache: Path, emit: Emit, sounds: dict[str, Sound]
) -> dict[str, Any]:
    try:
        settings, matches = _matched(settings)
        trial = build(settings, expect=Trial)
        problems, grid, shares = _try_masks(trial)
        sound = _sound(trial, cache, emit)
        if grid is not None:
            sound.loader(trial)
    except PartError as error:
        return _refused(error.problems)
    except ValueError as error:  # of the audio, the only part that has not named itself yet
        return _refused([*problems, Problem(("data",), str(error))])
    if problems or grid is None:
        return _refused(problems)
    sounds.setdefault(sound.store.digest, sound)
    return {
        **_named(trial, sound),
        "problems": [],
        "grid": [grid.freq, grid.time],
        "parameters": _parameters(trial),
        "context": shares[0],
        "targets": shares[1],
        "too_short": len(sound.too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)),
        "matched": [dataclasses.asdict(match) for match in matches],
        "twin": _named(trial.twin, sound),
        "statistics": _named(trial.statistics, sound),
    }


def _matched(settings: dict[str, Any]) -> tuple[dict[str, Any], list[Match]]:
    """Puts found values in the place of what a masker's `match` asks for.

    Where the rest of the trial is wrong, that is told first: a match needs its grid.
    """
    masker = settings.get("masker")
    if not is_asked(masker):
        return settings, []
    plain = {**settings, "masker": without(masker)}
    trial = build(plain, expect=Trial)
    try:
        grid = trial.twin.grid
    except ValueError:
        return plain, []  # told by `_try_masks`
    if grid.size < 2:
        return plain, []
    found, matches = matched(masker, grid)
    return {**settings, "masker": found}, matches


def _refused(problems: list[Problem]) -> dict[str, Any]:
    listed = [{"path": list(problem.path), "message": problem.message} for problem in problems]
    return {"settings": None, "fingerprint": None, "problems": listed}


def _named(subject: Subject, sound: Sound) -> dict[str, Any]:
    settings = resolve(subject)
    del settings["type"]  # its kind says it
    return {
        "kind": kind_of(subject),
        "settings": settings,
        "fingerprint": fingerprint(subject, sound.store.digest),
    }


def _sound(trial: Trial, cache: Path, emit: Emit) -> Sound:
    def progress(done: int, total: int) -> None:
        emit({"event": "progress", "label": "clips", "done": done, "total": total})

    return open_sound(trial.data, trial.mel, cache, progress)


def _try_masks(trial: Trial) -> tuple[list[Problem], Grid | None, tuple[float, float]]:
    try:
        grid = trial.twin.grid
    except ValueError as error:
        return [Problem(("patchifier",), str(error))], None, (0, 0)
    if grid.size < 2:
        message = f"one patch covers all {trial.crop_frames} frames; nothing is left to predict"
        return [Problem(("patchifier",), message)], None, (0, 0)
    try:
        return [], grid, realised_shares(trial.masker, grid)
    except (GridRefusedError, AssertionError, ValueError) as error:
        reason = str(error)
    except Exception as error:  # a stranger's masker may raise anything
        reason = f"{type(error).__name__}: {error}"
    return [Problem(("masker",), f"on a grid of {grid} patches: {reason}")], None, (0, 0)


def _parameters(trial: Trial) -> dict[str, int]:
    with torch.device("meta"):
        encoder = trial.encoder.build(trial.twin.grid, trial.patchifier.pixels)
        target = trial.target.build(encoder, trial.twin.grid, trial.patchifier.pixels)
        predictor = trial.predictor.build(trial.twin.grid, encoder.dim, target.dim)
    return num_parameters(encoder, predictor)


def _describe(sound: Sound) -> dict[str, Any]:
    tasks = {}
    for task in sound.tasks:
        sizes = {part: len(clips) for part, clips in task.parts.items()}
        counts = {"folds": len(sizes)} if task.folded else {**sizes, "folds": None}
        tasks[task.name] = {"classes": len(task.classes), **counts}
    return {
        "digest": sound.store.digest,
        "clips": len(sound.store.clips),
        "pretraining_clips": len(sound.train),
        "skipped": [list(pair) for pair in sound.store.skipped],
        "tasks": tasks,
    }
