"""Everything that can be wrong with a trial, found before one is trained."""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from ablate.core.nested import remove_nested
from ablate.mask_analysis.matching import Match, has_match, remove_match, resolve_matches
from ablate.mask_analysis.statistics import RealisedShares, realised_shares
from ablate.model.masking import Grid, UnsupportedGridError
from ablate.parts import PartError, Problem, build, resolve
from ablate.worker.budget_matching import Wanted
from ablate.worker.code_digest import digests
from ablate.worker.compatibility import refused
from ablate.worker.datasets import Emit, Sounds
from ablate.worker.meta_model import parameters
from ablate.worker.online_probe import check_online_probe
from ablate.worker.probes import (
    ExpectedScore,
    Probes,
    build_probes,
    expected_scores,
    protocol,
    without_summary,
)
from ablate.worker.token_stats import token_facts
from ablate.worker.trial import Sound, Subject, Trial, deciding, digest, kind_of
from ablate.worker.units import sized

Paths = Set[tuple[str, ...]]  # of keys


def plan(
    trials: Sequence[dict[str, Any]],
    probes: dict[str, Any],
    cache: Path,
    emit: Emit,
    *,
    inner: Sequence[Sequence[Sequence[str]]] = (),
    matched_budget: Mapping[str, Any] | None = None,
    quiet: bool = False,
    score: Mapping[str, Any] | None = None,
    evaluate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Checks trials, opens their sound and resolves their settings.

    Returns what `trials` and `data` hold, as plain data; a trial's problems stand in its own
    entry. `inner` are, for each trial, the settings that are left out where the part that they
    fall to has none of that name. `matched_budget` holds `by`, which is steps, clips or flops, and
    the settings of the `baseline`: all trials are given the steps that take up as much as it does.
    `score` holds the `pooling` that is to be the study's score, and the `probes` that give it;
    `evaluate` says by which probe trainings are looked at on their way. Where anything is wrong
    with a trial, or if `quiet`, nothing is decoded and nothing named. Raises `PartError` for
    probes that cannot be built or cannot give these scores, and for a baseline that cannot be
    built.
    """
    built = build_probes(probes)
    if evaluate is not None:
        check_online_probe(evaluate, built)
    # clips that no probe examines on need no labels
    sounds = Sounds(cache, emit, probed=any(probe.tasks is None for probe in built.values()))
    scores = [*expected_scores(score, evaluate)]
    budget = _wanted(matched_budget) if matched_budget else None
    desk = _Desk(sounds, budget, built, scores)
    found = itertools.zip_longest(trials, inner, fillvalue=())
    asked = [(dict(settings), {tuple(path) for path in paths}) for settings, paths in found]
    entries = desk.entries(asked, quiet=quiet)
    protocols = {name: protocol(name, probe, sounds) for name, probe in built.items()}
    for one in scores:
        one.check_tasks(built[one.probe], sounds.tasks(built[one.probe].tasks))
    return {"trials": entries, "data": sounds.described(), "probes": protocols}


class _Named:
    """A subject's settings and fingerprint, for any seed."""

    def __init__(self, subject: Subject, sound: Sound) -> None:
        self._kind = kind_of(subject)
        self._settings = resolve(subject)
        del self._settings["type"]  # its kind says it
        self._deciding = deciding(subject, sound.store.digest)

    def entry(self, **seed: int) -> dict[str, Any]:
        found = digest({**self._deciding, **seed})
        return {"kind": self._kind, "settings": {**self._settings, **seed}, "fingerprint": found}


class _Checked:
    """A trial that can be run, and what was found out about it whatever its seed."""

    def __init__(self, trial: Trial, sound: Sound, facts: dict[str, Any]) -> None:
        self._trial, self._twin = _Named(trial, sound), _Named(trial.twin, sound)
        self.facts = {**facts, "statistics": _Named(trial.statistics, sound).entry()}

    def entry(self, seed: int) -> dict[str, Any]:
        twin = self._twin.entry(seed=seed)
        return {**self._trial.entry(seed=seed), "problems": [], **self.facts, "twin": twin}


@dataclasses.dataclass(frozen=True)
class _Weighed:
    """A trial in which nothing is wrong but perhaps its sound, which has not been opened."""

    trial: Trial
    facts: dict[str, Any]
    dropped: list[list[str]] = dataclasses.field(default_factory=list)


class _Desk:
    """Checks trials, each combination once for all its seeds; sound last, for decoding takes long.

    Where anything else is wrong, in whichever trial, no sound is opened.
    """

    def __init__(
        self,
        sounds: Sounds,
        wanted: Wanted | None,
        probes: Probes,
        scores: Sequence[ExpectedScore],
    ) -> None:
        self._sounds = sounds
        self._wanted = wanted  # of every trial
        self._probes = probes
        self._scores = scores
        self._weighed: dict[str, _Weighed | dict[str, Any]] = {}
        self._heard: dict[str, _Checked | dict[str, Any]] = {}

    def entries(
        self, asked: Sequence[tuple[dict[str, Any], Paths]], *, quiet: bool
    ) -> list[dict[str, Any]]:
        keys = [
            json.dumps([{**settings, "seed": None}, sorted(inner)], sort_keys=True)
            for settings, inner in asked
        ]
        for key, (settings, inner) in zip(keys, asked, strict=True):
            if key not in self._weighed:
                self._weighed[key] = self._weigh(settings, inner)
        fine = [found for found in self._weighed.values() if isinstance(found, _Weighed)]
        for score in self._scores:
            score.check_view(self._probes[score.probe], [one.trial.encoder for one in fine])
        quiet = quiet or any(isinstance(found, dict) for found in self._weighed.values())
        for key, found in self._weighed.items():
            self._heard[key] = found if isinstance(found, dict) else self._hear(found, quiet=quiet)
        return [
            self._entry(self._heard[key], settings.get("seed"))
            for key, (settings, _) in zip(keys, asked, strict=True)
        ]

    def _entry(self, found: _Checked | dict[str, Any], seed: object) -> dict[str, Any]:
        if isinstance(found, _Checked) and isinstance(seed, int):
            return found.entry(seed)
        assert isinstance(found, dict), "a trial without a seed is refused"
        return found

    def _weigh(self, settings: dict[str, Any], inner: Paths) -> _Weighed | dict[str, Any]:
        dropped: list[list[str]] = []
        while True:
            try:
                found = self._examine(settings)
            except PartError as error:
                foreign = [p.path for p in error.problems if p.unknown and p.path in inner]
                if not foreign:
                    return _refused(error.problems, dropped)
                for path in foreign:
                    settings = remove_nested(settings, path)
                    dropped.append(list(path))
            else:
                return dataclasses.replace(found, dropped=dropped)

    def _examine(self, settings: dict[str, Any]) -> _Weighed:
        settings, matches = _matched(sized(settings))
        trial = build(settings, expect=Trial)
        if incompatible := [*refused(trial), *without_summary(trial.encoder, self._probes)]:
            raise PartError(incompatible)
        problems, grid, shares = _try_masks(trial)
        weights = {} if grid is None else _parameters(trial, problems)
        if problems or grid is None or shares is None:
            raise PartError([*problems, *self._wrong_with_files(trial)])
        facts = {
            "grid": [grid.freq, grid.time],
            "tokens": token_facts(trial.mel, trial.patchifier, trial.crop_frames),
            "parameters": weights,
            **shares._asdict(),
            "matched": [dataclasses.asdict(match) for match in matches],
            "parts": digests(settings),
        }
        return _Weighed(trial, facts)

    def _wrong_with_files(self, trial: Trial) -> list[Problem]:
        try:
            self._sounds.check(trial)
        except ValueError as error:
            return [Problem(("data",), str(error))]
        return []

    def _hear(self, found: _Weighed, *, quiet: bool) -> _Checked | dict[str, Any]:
        trial = found.trial
        if quiet:
            return _refused(self._wrong_with_files(trial), found.dropped)
        try:
            sound = self._sounds.of(trial)
            sound.loader(trial)
        except PartError as error:
            return _refused(error.problems, found.dropped)
        except ValueError as error:  # of the audio, the only part that has not named itself yet
            return _refused([Problem(("data",), str(error))], found.dropped)
        self._sounds.take(trial, sound)
        trial, budget = (trial, {}) if self._wanted is None else self._wanted.given_to(trial)
        short = sound.too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
        heard = {"data": sound.store.digest, "too_short": len(short)}
        heard |= {**budget, **_told(found.dropped)}
        return _Checked(trial, sound, {**found.facts, **heard})


def _wanted(asked: Mapping[str, Any]) -> Wanted:
    """Says what every trial is to take up. Raises `PartError` where the baseline cannot be run."""
    try:
        settings, _ = _matched(sized(asked["baseline"]))
        baseline = build(settings, expect=Trial)
        problems, grid, _ = _try_masks(baseline)
        if problems or grid is None or not _parameters(baseline, problems):
            raise PartError(problems)
    except PartError as error:
        within = [dataclasses.replace(p, path=("baseline", *p.path)) for p in error.problems]
        raise PartError(within) from error
    return Wanted.of(asked["by"], baseline)


def _matched(settings: dict[str, Any]) -> tuple[dict[str, Any], list[Match]]:
    """Puts found values in the place of what a masker's `match` asks for.

    Where the rest of the trial is wrong, that is told first: a match needs its grid.
    """
    masker = settings.get("masker")
    if not has_match(masker):
        return settings, []
    plain = {**settings, "masker": remove_match(masker)}
    trial = build(plain, expect=Trial)
    try:
        grid = trial.twin.grid
    except ValueError:
        return plain, []  # told by `_try_masks`
    if grid.size < 2:
        return plain, []
    found, matches = resolve_matches(masker, grid, trial.batching, trial.budget.batch)
    return {**settings, "masker": found}, matches


def _refused(problems: list[Problem], dropped: list[list[str]]) -> dict[str, Any]:
    listed = [{"path": list(problem.path), "message": problem.message} for problem in problems]
    return {"settings": None, "fingerprint": None, "problems": listed, **_told(dropped)}


def _told(dropped: list[list[str]]) -> dict[str, Any]:
    """Tells which settings were left out, where any were."""
    return {"dropped": dropped} if dropped else {}


def _try_masks(trial: Trial) -> tuple[list[Problem], Grid | None, RealisedShares | None]:
    try:
        grid = trial.twin.grid
    except ValueError as error:
        return [Problem(("patchifier",), str(error))], None, None
    if grid.size < 2:
        message = f"one patch covers all {trial.crop_frames} frames; nothing is left to predict"
        return [Problem(("patchifier",), message)], None, None
    try:
        shares = realised_shares(trial.masker, grid, trial.batching, trial.budget.batch)
        return [], grid, shares
    except (UnsupportedGridError, AssertionError, ValueError) as error:
        reason = str(error)
    except Exception as error:  # a stranger's masker may raise anything
        reason = f"{type(error).__name__}: {error}"
    return [Problem(("masker",), f"on a grid of {grid} patches: {reason}")], None, None


def _parameters(trial: Trial, problems: list[Problem]) -> dict[str, int]:
    """Counts the weights, without making any; adds what a part finds wrong in being built."""
    try:
        return parameters(trial)
    except PartError as error:
        problems += error.problems
        return {}
