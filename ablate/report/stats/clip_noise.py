"""Estimates what test clips contribute to a difference: its error over draws, and noise by seed.

Another draw of test clips moves a difference even if the encoders stay the same. And each seed's
encoder errs on other clips, which is part of the spread over seeds: less so with more test clips.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance

import numpy as np
from numpy.typing import NDArray
from scipy import special

from ablate.report.stats.contrast import Contrast, Term
from ablate.runs.predictions import Part

Numbers = NDArray[np.float64]
Key = tuple[str, str]  # tasks, and digest of their clips: the same clips are paired


@dataclass(frozen=True, kw_only=True)
class ClipError:
    """The error of a difference over draws of test clips, for the same trained encoders."""

    standard_error: float  # points
    freedom: float  # degrees of freedom: independent groups of clips less one

    def compute_half_width(self, alpha: float) -> float:
        """Computes half of the interval that has coverage 1 - `alpha`, in points."""
        return -float(special.stdtrit(self.freedom, alpha / 2)) * self.standard_error


@dataclass(frozen=True, kw_only=True)
class SeedVariance:
    """The variance over seeds of a difference in squared points, and the part of test clips."""

    freedom: int  # seeds less one
    total: float
    clips: float  # expected from clips that each seed's encoder gets right or wrong by chance
    num_groups: int  # independent groups of clips, over all tasks


def estimate_clip_error(contrast: Contrast) -> ClipError | None:
    """Estimates how far another draw of test clips would move the mean difference.

    None if the predictions of a run were not kept, or its metric does not allow it.
    """
    by_seed = compute_difference_influences(contrast)
    if not by_seed:
        return None
    mean = _average([*by_seed.values()])
    variances = {key: compute_clip_variance(values) for key, values in mean.items()}
    total = sum(variances.values())
    if any(len(values) < 2 for values in mean.values()) or not total:
        return None
    spent = sum(value**2 / (len(mean[key]) - 1) for key, value in variances.items())
    return ClipError(standard_error=float(np.sqrt(total)), freedom=total**2 / spent)


def estimate_seed_variance(contrast: Contrast, part: Part = "test") -> SeedVariance | None:
    """Estimates how much of the variance over seeds is noise of the clips of a part.

    A two-way analysis of variance of clips and seeds: what is left of the clips' influences after
    the mean over seeds differs by chance from seed to seed. None below two seeds, or as in
    `estimate_clip_error`.
    """
    by_seed = compute_difference_influences(contrast, part)
    if not by_seed or len(by_seed) < 2:
        return None
    mean = _average([*by_seed.values()])
    noise = sum(
        compute_clip_variance(values - mean[key])
        for influences in by_seed.values()
        for key, values in influences.items()
    )
    freedom = len(by_seed) - 1
    total = variance(_list_differences(contrast, part))
    return SeedVariance(
        freedom=freedom,
        total=total,
        clips=noise / freedom,
        num_groups=sum(len(values) for values in mean.values()),
    )


@dataclass(frozen=True, kw_only=True)
class ClipShare:
    """The share of the variance over seeds that is noise of clips, with its 80 % interval."""

    share: float
    low: float
    high: float
    num_groups: int  # independent groups of clips


def compute_clip_share(variances: Iterable[SeedVariance | None]) -> ClipShare | None:
    """Computes the share of clips in the variance over seeds, pooled over contrasts.

    The noise of clips is known well, as there are many, but the variance over few seeds is not:
    hence the interval. Contrasts with one baseline are correlated by about a half.
    """
    estimated = [each for each in variances if each is not None]
    total = sum(each.freedom * each.total for each in estimated)
    clips = sum(each.freedom * each.clips for each in estimated)
    if not total > 0:
        return None
    freedom = sum(each.freedom for each in estimated) / (1 + (len(estimated) - 1) / 4)
    low, high = special.chdtri(freedom, (0.9, 0.1)) / freedom  # 10 % and 90 % quantiles
    return ClipShare(
        share=min(clips / total, 1.0),
        low=min(low * clips / total, 1.0),
        high=min(high * clips / total, 1.0),
        num_groups=max(each.num_groups for each in estimated),
    )


def compute_difference_influences(
    contrast: Contrast, part: Part = "test"
) -> dict[int, dict[Key, Numbers]] | None:
    """Computes the influence of each group of clips on the difference of each seed.

    Returns:
        seed -> (tasks, clips) -> (groups,), in points; None if a run has no predictions.
    """
    pairs = [pair for pair in contrast.pairs if pair.differences]
    by_seed: dict[int, dict[Key, Numbers]] = {}
    for seed in contrast.differences:
        summed: dict[Key, Numbers] = {}
        for pair in pairs:
            for sign, arm in ((1, pair.level), (-1, pair.against)):
                if not _add_influences(summed, arm.terms.get(seed, ()), part, sign / len(pairs)):
                    return None
        by_seed[seed] = summed
    return by_seed


def _add_influences(
    summed: dict[Key, Numbers], terms: Sequence[Term], part: Part, factor: float
) -> bool:
    """Adds the influences on the value of one arm; False if they are not known."""
    for term in terms:
        influences = term.run.load_influences(*term.probe_key, part)
        if not influences:
            return False
        for key, values in influences.items():
            scaled = factor * term.weight * values
            summed[key] = summed[key] + scaled if key in summed else scaled
    return bool(terms)


def _list_differences(contrast: Contrast, part: Part) -> list[float]:
    """Lists the difference of each seed by the scores of a part, in points."""
    if part == "test":
        return [*contrast.differences.values()]
    pairs = [pair for pair in contrast.pairs if pair.differences]
    return [
        fmean(
            _compute_valid_score(pair.level.terms[seed])
            - _compute_valid_score(pair.against.terms[seed])
            for pair in pairs
        )
        for seed in contrast.differences
    ]


def _compute_valid_score(terms: Sequence[Term]) -> float:
    return sum(
        term.weight
        * fmean(
            score.valid
            for score in term.run.scores
            if (score.probe, score.pooling) == term.probe_key and score.valid is not None
        )
        for term in terms
    )


def _average(by_seed: Sequence[Mapping[Key, Numbers]]) -> dict[Key, Numbers]:
    """Averages influences over seeds; clips that some seed did not use count as 0 there."""
    keys = dict.fromkeys(key for influences in by_seed for key in influences)
    return {
        key: np.sum([each[key] for each in by_seed if key in each], axis=0) / len(by_seed)
        for key in keys
    }


def compute_clip_variance(influences: Numbers) -> float:
    """Computes the variance of a statistic from the influences of independent groups."""
    groups = len(influences)
    return float(influences @ influences) * groups / max(groups - 1, 1)
