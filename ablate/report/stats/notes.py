"""Lists what a reader should know about a verdict: failures, few clips, mixed runs and others."""

from collections.abc import Iterator

from ablate.report.stats.clip_noise import estimate_clip_error
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.decision_rules import DecisionRules
from ablate.report.stats.instability import list_unstable_levels
from ablate.report.stats.statistics import Estimate

UNDECIDED = "undecided"
BELOW_MARGIN = "smaller than the margin"  # start of a note on a decided difference
MIXED = {
    "devices or precisions": ("device", "precision"),
    "versions of the code": ("code",),
    "versions of libraries": ("versions",),
    "numbers of ranks": ("ranks",),
}


def list_notes(
    contrast: Contrast,
    estimate: Estimate,
    rules: DecisionRules,
    *,
    unrestricted_word: str,
    word: str,
) -> Iterator[str]:
    """Yields what a reader should know about a verdict: missing pairs, failures, mixed settings."""
    counts = [len(pair.paired_values) for pair in contrast.pairs]
    if 0 in counts and any(counts):
        yield f"no pair in {counts.count(0)} of {len(counts)} combinations"
    if estimate.n == 1:
        yield "n < 2: one seed gives no spread"
    if estimate.is_constant:
        yield "no spread: all seeds have the same difference"
    failed, lost = contrast.failure_counts, contrast.lost_counts
    if any(failed):
        yield f"failed trials: {failed[0]} vs {failed[1]}"
    if lost != failed:
        yield f"trials without a score: {lost[0]} vs {lost[1]}"
    if word == UNDECIDED and unrestricted_word != word:
        rates = "failure rates" if lost == failed else "the shares of trials without a score"
        yield f"would be {unrestricted_word}, but {rates} differ"
    if word in ("better", "worse") and abs(estimate.mean or 0.0) < rules.margin:
        yield f"{BELOW_MARGIN} of {rules.margin:g}"
    if word in ("better", "worse") and _may_depend_on_clips(contrast, estimate, rules):
        yield "another draw of test clips could reverse it"
    for level, seeds in contrast.incomplete_levels.items():
        which = f"seed {seeds[0]}" if len(seeds) == 1 else f"{len(seeds)} of {estimate.n} seeds"
        yield f"error estimated without {level}, which has no score on {which}"
    yield from list_unstable_levels(contrast)
    arms = [arm for pair in contrast.pairs for arm in (pair.level, pair.against)]
    settings = frozenset().union(*(arm.settings for arm in arms))
    for what, names in MIXED.items():
        if any(sum(key == name for key, _ in settings) > 1 for name in names):
            yield f"mixes {what}"


def _may_depend_on_clips(contrast: Contrast, estimate: Estimate, rules: DecisionRules) -> bool:
    """Returns whether 0 lies within the error of the difference over draws of test clips."""
    error = estimate_clip_error(contrast)
    return error is not None and abs(estimate.mean or 0.0) < error.compute_half_width(rules.alpha)
