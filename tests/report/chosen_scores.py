"""Fabricated results whose scores a test chooses, and the verdict that it asks for."""

from collections.abc import Mapping
from dataclasses import replace

from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict


def one(found: tuple[Verdict, ...], family: str, level: str, held: str = "") -> Verdict:
    """Returns the only verdict on a level, in a family and perhaps with one level held."""
    matching = [
        verdict
        for verdict in found
        if (verdict.contrast.family, verdict.contrast.level) == (family, level)
        and (not held or held in dict(verdict.contrast.fixed_levels).values())
    ]
    assert len(matching) == 1
    return matching[0]


def with_scores(results: Results, values: Mapping[tuple[str, str], list[float]]) -> Results:
    """Gives trials the scores listed by (masker, patchifier), a score a seed; twins have 30."""
    trials = tuple(
        replace(
            trial,
            score=values[trial.levels["masker"], trial.levels["patchifier"]][trial.seed],
            random_init_score=30.0,
        )
        for trial in results.trials
    )
    return replace(results, trials=trials)


FLAT = {
    ("random", "squares"): [40.0, 41.0, 42.5],
    ("random", "strips"): [43.0, 44.5, 45.0],
    ("block", "squares"): [35.2, 36.1, 37.0],
    ("block", "strips"): [38.1, 39.4, 40.3],
    ("curriculum", "squares"): [40.2, 41.1, 42.3],
    ("curriculum", "strips"): [43.1, 44.2, 45.3],
}


def differences(*, patchifier: str) -> list[float]:
    """Returns what block differs from random by in `FLAT`, a number a seed."""
    arms = zip(FLAT["block", patchifier], FLAT["random", patchifier], strict=True)
    return [block - random for block, random in arms]


def failed(results: Results, masker: str) -> Results:
    """Lets the first seed of a masker on strips fail."""
    trials = tuple(
        replace(trial, state="failed", score=None)
        if trial.seed == 0 and trial.levels == {"masker": masker, "patchifier": "strips"}
        else trial
        for trial in results.trials
    )
    return replace(results, trials=trials)
