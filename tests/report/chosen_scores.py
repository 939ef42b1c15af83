"""Results with chosen scores, and a look-up of verdicts."""

from collections.abc import Mapping
from dataclasses import replace

from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict


def get_verdict(verdicts: tuple[Verdict, ...], family: str, level: str, fixed: str = "") -> Verdict:
    """Returns the only verdict on a level in a family, optionally with one fixed level."""
    matching = [
        verdict
        for verdict in verdicts
        if (verdict.contrast.family, verdict.contrast.level) == (family, level)
        and (not fixed or fixed in dict(verdict.contrast.fixed_levels).values())
    ]
    assert len(matching) == 1
    return matching[0]


def with_scores(results: Results, values: Mapping[tuple[str, str], list[float]]) -> Results:
    """Sets scores by (masker, patchifier), one per seed; scores at random init are 30."""
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
    """Returns block minus random in `FLAT`, one number per seed."""
    arms = zip(FLAT["block", patchifier], FLAT["random", patchifier], strict=True)
    return [block - random for block, random in arms]


def fail_first_seed(results: Results, masker: str) -> Results:
    """Marks the first seed of a masker on strips as failed."""
    return end_first_seed(results, masker, state="failed")


def end_first_seed(results: Results, masker: str, *, state: str) -> Results:
    """Removes the score of the first seed of a masker on strips, and sets its state."""
    trials = tuple(
        replace(trial, state=state, score=None)
        if trial.seed == 0 and trial.levels == {"masker": masker, "patchifier": "strips"}
        else trial
        for trial in results.trials
    )
    return replace(results, trials=trials)
