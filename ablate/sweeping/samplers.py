"""How the next point is chosen: Optuna's samplers by the names that a study gives them."""

import importlib.util
import warnings
import zlib

import optuna
from optuna.samplers import BaseSampler

MOST_BLIND = 10  # points by chance before TPE learns from them


def sampler_refused(name: str) -> str | None:
    """Says why a sampler cannot be used here, or None."""
    if name == "cmaes" and importlib.util.find_spec("cmaes") is None:
        return "sampler `cmaes` needs the package `cmaes`: pip install cmaes"
    return None


def make_sampler(name: str, seed: int, worker: str, *, trials: int = 30) -> BaseSampler:
    """Makes a sampler; two workers draw different points, but share one quasi-random sequence."""
    own = zlib.crc32(f"{seed} {worker}".encode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match name:
            case "tpe":
                return optuna.samplers.TPESampler(
                    multivariate=True,
                    group=True,
                    constant_liar=True,
                    n_startup_trials=max(MOST_BLIND // 3, min(MOST_BLIND, trials // 3)),
                    seed=own,
                )
            case "qmc":
                return optuna.samplers.QMCSampler(
                    scramble=True, seed=seed, warn_independent_sampling=False
                )
            case "gp":
                return optuna.samplers.GPSampler(seed=own)
            case "cmaes":
                return optuna.samplers.CmaEsSampler(seed=own, warn_independent_sampling=False)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=own)
    return optuna.samplers.RandomSampler(seed=own)
