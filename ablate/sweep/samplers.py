"""How the next point is chosen: Optuna's samplers by the names that a study gives them.

https://github.com/optuna/optuna; each sampler's documentation names its paper.
"""

import importlib.util
import warnings
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

MOST_BLIND = 10  # points by chance before TPE learns from them


def sampler_refused(name: str) -> str | None:
    """Says why a sampler cannot be used here: its package is missing; None where it can."""
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        return "sampler `cmaes` needs the package `cmaes`: pip install cmaes"
    return None


class KeyedSampler(BaseSampler):
    """Draws a point from (seed, its number) and what is known by then, whichever process asks.

    `name` is one of `SAMPLERS`; of the `trials` points there will be, TPE draws a third by chance,
    3 to 10. A sampler's own memory lies in the storage, so a fresh one can be made for every
    point. Two processes draw different points because a number is given once.
    """

    def __init__(self, name: str, seed: int, *, trials: int = 30) -> None:
        self._name, self._seed, self._trials = name, seed, trials
        self._fresh: dict[int, BaseSampler] = {}

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._fresh = {trial.number: self._make(trial.number)}
        self._of(trial).before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._of(trial).infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._of(trial).sample_relative(study, trial, dict(search_space))

    def sample_independent(
        self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution
    ) -> Any:
        return self._of(trial).sample_independent(study, trial, name, distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self._make(trial.number).after_trial(study, trial, state, values)

    def _of(self, trial: FrozenTrial) -> BaseSampler:
        return self._fresh[trial.number]

    def _make(self, number: int) -> BaseSampler:
        own = zlib.crc32(f"{self._seed} {number}".encode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            match self._name:
                case "tpe":
                    return optuna.samplers.TPESampler(
                        multivariate=True,
                        group=True,
                        constant_liar=True,
                        n_startup_trials=max(MOST_BLIND // 3, min(MOST_BLIND, self._trials // 3)),
                        seed=own,
                    )
                case "qmc":  # one sequence, of which the storage knows the place
                    return optuna.samplers.QMCSampler(
                        scramble=True, seed=self._seed, warn_independent_sampling=False
                    )
                case "gp":
                    return optuna.samplers.GPSampler(seed=own)
                case "cmaes":
                    return optuna.samplers.CmaEsSampler(seed=own, warn_independent_sampling=False)
                case "nsga2":
                    return optuna.samplers.NSGAIISampler(seed=own)
        return optuna.samplers.RandomSampler(seed=own)
