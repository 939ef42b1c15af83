"""Validates the trials of a study before any is trained.

Each combination of settings is validated once for all its seeds. Decoding audio takes long, so
audio is opened last, and only if no trial has another problem.
"""

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from ablate.core.nested import remove_nested
from ablate.core.records.plan import MatchedBudget, MatchedSetting, Settings, TrialFacts
from ablate.core.records.planning import (
    BudgetMatch,
    PlanReply,
    PlanRequest,
    SettingProblem,
    TrialReply,
)
from ablate.core.records.run import ParameterCounts
from ablate.core.seeds import SETTINGS, get_seeds
from ablate.mask_analysis.matching import Match
from ablate.mask_analysis.realised_shares import RealisedShares
from ablate.model.masking import Grid
from ablate.parts import PartError, Problem, build
from ablate.worker.audio_data import AudioData
from ablate.worker.audio_fit import count_valid_columns, list_trial_notes
from ablate.worker.budget_matching import TargetBudget
from ablate.worker.code_digest import compute_code_digests
from ablate.worker.compatibility import find_conflicts
from ablate.worker.datasets import AudioDatasets, Emit
from ablate.worker.online_probe import check_online_probe
from ablate.worker.probes import (
    ExpectedScore,
    Probes,
    build_probes,
    check_task_settings,
    find_missing_summary,
    get_protocol,
    list_expected_scores,
)
from ablate.worker.resolved_trial import KeyPath, ResolvedForAnySeed
from ablate.worker.settings_checks import (
    count_parameters,
    fill_in_matches,
    fit_to_lengths,
    try_masks,
)
from ablate.worker.token_stats import compute_token_stats
from ablate.worker.trial import Trial
from ablate.worker.units import convert_sizes


def validate(request: PlanRequest, cache: Path, emit: Emit) -> PlanReply:
    """Validates trials, opens their audio and resolves their settings.

    Problems of single trials are part of the reply.

    Args:
        request: trials, probes and scores of a study, or a part of them.
        cache: folder of decoded clips.
        emit: receives progress events while clips are decoded.

    Raises:
        PartError: a probe cannot be built or cannot give a requested score, or the baseline of a
            matched budget cannot be built.
    """
    probes = build_probes(request.probes)
    if request.evaluate is not None:
        check_online_probe(request.evaluate, probes)
    # clips that no probe uses need no labels
    datasets = AudioDatasets(
        cache, emit, probed=any(probe.tasks is None for probe in probes.values())
    )
    budget = _compute_target_budget(request.match_budget) if request.match_budget else None
    scores = list_expected_scores(request.scores, request.evaluate)
    for score in scores:
        score.check_validation(probes[score.probe], request.chooses_by)
    validator = _Validator(datasets, budget, probes, scores, request.random_inits)
    pairs = itertools.zip_longest(request.trials, request.optional, fillvalue=())
    trials = [(dict(settings), frozenset(optional)) for settings, optional in pairs]
    replies = validator.validate(trials, open_audio=request.open_audio)
    protocols = {name: get_protocol(name, probe, datasets) for name, probe in probes.items()}
    for name, probe in probes.items():
        check_task_settings(name, probe, datasets.list_tasks(probe.tasks))
    for score in scores:
        score.check_tasks(probes[score.probe], datasets.list_tasks(probes[score.probe].tasks))
    return PlanReply(trials=tuple(replies), data=tuple(datasets.summarise()), probes=protocols)


@dataclasses.dataclass(frozen=True)
class _ValidTrial:
    """A trial that has no problem, as far as can be found without opening its audio."""

    trial: Trial
    grid: Grid
    shares: RealisedShares
    parameters: ParameterCounts
    matches: list[Match]
    code: dict[str, str]  # third-party part -> digest of its code
    settings: Settings  # with every `match`
    dropped: list[KeyPath] = dataclasses.field(default_factory=list)

    def facts(self, trial: Trial, audio: AudioData, budget: MatchedBudget | None) -> TrialFacts:
        """Collects the facts of the trial; `trial` has the matched budget."""
        too_short = audio.find_too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
        return TrialFacts(
            data=audio.store.digest,
            too_short=len(too_short),
            grid=(self.grid.freq, self.grid.time),
            parameters=self.parameters,
            **self.shares._asdict(),
            tokens=compute_token_stats(trial.mel, trial.patchifier, trial.crop_frames),
            matched=tuple(MatchedSetting(**dataclasses.asdict(match)) for match in self.matches),
            budget=budget,
            parts=self.code,
            notes=list_trial_notes(audio, trial),
        )


class _Validator:
    """Validates trials in two passes: settings, masks and model first; audio second."""

    def __init__(
        self,
        datasets: AudioDatasets,
        budget: TargetBudget | None,
        probes: Probes,
        scores: Sequence[ExpectedScore],
        random_inits: int,
    ) -> None:
        self._datasets = datasets
        self._budget = budget
        self._probes = probes
        self._scores = scores
        self._random_inits = random_inits

    def validate(
        self, trials: Sequence[tuple[Settings, Set[KeyPath]]], *, open_audio: bool
    ) -> list[TrialReply]:
        """Returns a reply per trial; a trial is its settings and the paths of optional ones."""
        keys = [
            json.dumps([_drop_seeds(settings), sorted(optional)], sort_keys=True)
            for settings, optional in trials
        ]
        first: dict[str, _ValidTrial | TrialReply] = {}
        for key, (settings, optional) in zip(keys, trials, strict=True):
            if key not in first:
                first[key] = self._validate_settings(settings, optional)
        valid = [result for result in first.values() if isinstance(result, _ValidTrial)]
        for score in self._scores:
            score.check_view(self._probes[score.probe], [one.trial.encoder for one in valid])
        open_audio = open_audio and len(valid) == len(first)
        second = {
            key: self._open_audio(result, open_audio=open_audio)
            if isinstance(result, _ValidTrial)
            else result
            for key, result in first.items()
        }
        resolved = [one for one in second.values() if isinstance(one, ResolvedForAnySeed)]
        are_equal = len({one.random_init_key for one in resolved}) < 2
        count = 1 if are_equal else self._random_inits  # equal encoders leave no gains to compare
        return [
            _reply(second[key], get_seeds(settings), count)
            for key, (settings, _) in zip(keys, trials, strict=True)
        ]

    def _validate_settings(
        self, settings: Settings, optional: Set[KeyPath]
    ) -> _ValidTrial | TrialReply:
        """Drops the optional settings that no part has; returns what is wrong with the rest."""
        dropped: list[KeyPath] = []
        while True:
            try:
                valid = self._build(settings)
            except PartError as error:
                unknown = [p.path for p in error.problems if p.unknown and p.path in optional]
                if not unknown:
                    return _problem_reply(error.problems, dropped)
                for path in unknown:
                    settings = remove_nested(settings, path)
                    dropped.append(path)
            else:
                return dataclasses.replace(valid, dropped=dropped)

    def _build(self, settings: Settings) -> _ValidTrial:
        written = convert_sizes(settings)
        settings, matches = fill_in_matches(written)
        trial = build(settings, expect=Trial)
        if incompatible := [
            *find_conflicts(trial),
            *find_missing_summary(trial.encoder, self._probes),
        ]:
            raise PartError(incompatible)
        problems, grid, shares = try_masks(trial)
        counts = None if grid is None else count_parameters(trial, problems)
        if problems or grid is None or shares is None or counts is None:
            raise PartError([*problems, *self._check_source(trial)])
        code = compute_code_digests(settings)
        return _ValidTrial(trial, grid, shares, counts, matches, code, written)

    def _check_source(self, trial: Trial) -> list[Problem]:
        try:
            self._datasets.check_source(trial)
        except ValueError as error:
            return [Problem(("data",), str(error))]
        return []

    def _open_audio(
        self, valid: _ValidTrial, *, open_audio: bool
    ) -> ResolvedForAnySeed | TrialReply:
        trial = valid.trial
        if not open_audio:
            return _problem_reply(self._check_source(trial), valid.dropped)
        try:
            audio = self._datasets.open(trial)
            audio.build_loader(trial)
            if columns := count_valid_columns(audio, trial):
                trial, matches, shares = fit_to_lengths(valid.settings, trial, columns)
                valid = dataclasses.replace(valid, trial=trial, matches=matches, shares=shares)
        except PartError as error:
            return _problem_reply(error.problems, valid.dropped)
        except ValueError as error:
            return _problem_reply([Problem(("data",), str(error))], valid.dropped)
        self._datasets.add(trial, audio)
        trial, budget = (trial, None) if self._budget is None else self._budget.match(trial)
        return ResolvedForAnySeed(
            trial, audio, valid.facts(trial, audio, budget), dropped=valid.dropped
        )


def _drop_seeds(settings: Settings) -> Settings:
    return {key: value for key, value in settings.items() if key not in SETTINGS.values()}


def _reply(
    result: ResolvedForAnySeed | TrialReply, seeds: Mapping[str, int], random_inits: int
) -> TrialReply:
    if isinstance(result, TrialReply):
        return result
    assert "seed" in seeds, "a trial without a seed has a problem"
    return result.reply(seeds, random_inits)


def _problem_reply(problems: Sequence[Problem], dropped: Sequence[KeyPath]) -> TrialReply:
    listed = tuple(SettingProblem(path=p.path, message=p.message) for p in problems)
    return TrialReply(problems=listed, dropped=tuple(dropped))


def _compute_target_budget(request: BudgetMatch) -> TargetBudget:
    """Computes the budget of every trial. Raises `PartError` if the baseline cannot be built."""
    try:
        settings, _ = fill_in_matches(convert_sizes(request.baseline))
        baseline = build(settings, expect=Trial)
        problems, grid, _ = try_masks(baseline)
        if problems or grid is None or count_parameters(baseline, problems) is None:
            raise PartError(problems)
    except PartError as error:
        within = [dataclasses.replace(p, path=("baseline", *p.path)) for p in error.problems]
        raise PartError(within) from error
    return TargetBudget.from_baseline(request.by, baseline)
