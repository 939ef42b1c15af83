"""Builds Optuna's samplers by their names in a study, and makes their draws reproducible.

https://github.com/optuna/optuna; the documentation of each sampler cites its paper.
"""

import importlib.util
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from ablate.core.distribution import format_install_command

MOST_RANDOM = 10  # most random points before TPE models them


def find_sampler_problem(name: str) -> str | None:
    """Returns why a sampler cannot be used: its package is missing; None if it can."""
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        return f"sampler `cmaes` needs the package `cmaes`: {format_install_command('cmaes')}"
    return None


class KeyedSampler(BaseSampler):
    """Draws each point from a generator keyed by (seed, point number), in whichever process.

    A sampler keeps its state in the storage, so a new one is created for every point. Processes
    draw different points because each number is assigned once.

    Args:
        name: One of `SAMPLERS`.
        seed: Seed of the search.
        trials: Expected number of points; TPE draws the first third at random, from 3 to 10.
    """

    def __init__(self, name: str, seed: int, *, trials: int = 30) -> None:
        self._name, self._seed, self._trials = name, seed, trials
        self._current: dict[int, BaseSampler] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._current = {trial.number: self._create(trial.number)}
        self._get(trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._get(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._get(trial).sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        return self._get(trial).sample_independent(study, trial, name, distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._create(trial.number).after_trial(study, trial, state, values)

    def _get(self, trial: FrozenTrial) -> BaseSampler:
        return self._current[trial.number]

    def _create(self, number: int) -> BaseSampler:
        point_seed = zlib.crc32(f"{self._seed} {number}".encode())
        match self._name:
            case "tpe":
                return optuna.samplers.TPESampler(
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                    n_startup_trials=max(MOST_RANDOM // 3, min(MOST_RANDOM, self._trials // 3)),
                    seed=point_seed,
                )
            case "qmc":  # one sequence for all points; the storage counts its position
                return optuna.samplers.QMCSampler(
                    scramble=True, seed=self._seed, warn_independent_sampling=False
                )
            case "gp":
                return optuna.samplers.GPSampler(seed=point_seed)
            case "cmaes":
                return optuna.samplers.CmaEsSampler(
                    seed=point_seed, warn_independent_sampling=False
                )
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=point_seed)
        return optuna.samplers.RandomSampler(seed=point_seed)
