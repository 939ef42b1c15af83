"""Over simulated studies with looks, `compute_verdicts` itself keeps its promises."""

from dataclasses import replace

import numpy as np
import pytest

from ablate.core.records.plan import RecordedLooks
from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.conftest import StudyBuilder

STUDIES, LOOKS, MARGIN = 60, (3, 5, 8), 1.5
CLAIMS = ("better", "worse")
BASELINES = ("log-mel mean_std", "log-mel deltas")  # equally strong, so the strongest one changes
Key = tuple[object, ...]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A study of one factor with three levels; tests draw the scores."""
    builder = StudyBuilder(
        tmp_path_factory.mktemp("study"),
        factors={"masker": ["random", "block", "noise"]},
        seeds=tuple(range(max(LOOKS))),
        random_init_factors=(),
        margin=MARGIN,
    )
    return builder.results()


def draw(study: Results, number: int, *, sd: float = 1.0) -> Results:
    """Draws a study in which all variants and the baselines without training are equal."""
    normal = np.random.default_rng([56, number]).normal
    shared = normal(size=max(LOOKS))  # the effect of the seed on everything

    def shift(seed: int) -> float:
        return 40.0 + float(shared[seed]) + sd * float(normal())

    trials = []
    baselines = {seed: {name: shift(seed) for name in BASELINES} for seed in range(max(LOOKS))}
    for trial in study.trials:
        scores = {"score": shift(trial.seed), "random_init_score": shift(trial.seed) - 20.0}
        trials.append(replace(trial, untrained_scores=baselines[trial.seed], **scores))
    return replace(study, trials=tuple(trials))


def get_key(verdict: Verdict) -> Key:
    """Returns what is compared with what."""
    contrast = verdict.contrast
    return contrast.family, contrast.factor, contrast.level, contrast.against


def decide(results: Results, counts: tuple[int, ...]) -> dict[Key, Verdict]:
    """Decides a study at the last of these looks."""
    trials = tuple(trial for trial in results.trials if trial.seed < counts[-1])
    looks = RecordedLooks(seed_counts=counts, max_seeds=max(LOOKS))
    plan = replace(results.plan, seeds=tuple(range(counts[-1])), looks=looks)
    verdicts = compute_verdicts(replace(results, plan=plan, trials=trials))
    return {get_key(verdict): verdict for verdict in verdicts}


@pytest.fixture(scope="module")
def decided(study: Results) -> list[dict[int, dict[Key, Verdict]]]:
    """The verdicts of every simulated study at every look."""
    histories = []
    for number in range(STUDIES):
        results = draw(study, number, sd=(0.4, 1.0)[number % 2])
        histories.append({n: decide(results, LOOKS[: i + 1]) for i, n in enumerate(LOOKS)})
    return histories


def test_every_word_was_decided_at_the_look_that_it_names(
    decided: list[dict[int, dict[Key, Verdict]]],
) -> None:
    changed = carried = 0
    for by_look in decided:
        untrained = [
            {
                v.contrast.level: v.contrast.against
                for v in verdicts.values()
                if not v.contrast.factor
            }
            for verdicts in by_look.values()
        ]
        changed += untrained[0] != untrained[-1]
        for key, verdict in by_look[LOOKS[-1]].items():
            if verdict.word in (*CLAIMS, "equivalent"):
                assert verdict.decided_at is not None
                at_look = by_look[verdict.decided_at][key]  # the same two sides
                assert at_look.word == verdict.word
                carried += verdict.decided_at < LOOKS[-1]
    assert changed > STUDIES / 10
    assert carried > STUDIES / 10


def test_no_word_contradicts_the_mean_over_all_seeds(
    decided: list[dict[int, dict[Key, Verdict]]],
) -> None:
    words = set()
    for by_look in decided:
        for verdict in by_look[LOOKS[-1]].values():
            words.add(verdict.word)
            mean = verdict.estimate.mean or 0.0
            assert verdict.word != "better" or mean > 0
            assert verdict.word != "worse" or mean < 0
            assert verdict.word != "equivalent" or abs(mean) < MARGIN
    assert words >= {"undecided", "equivalent", "better"}


def test_looks_and_a_changing_baseline_cause_no_more_false_words(
    decided: list[dict[int, dict[Key, Verdict]]],
) -> None:
    limit = 0.05 + 5 * (0.05 * 0.95 / STUDIES) ** 0.5
    for family in ("pooled", "untrained"):
        false = [
            any(
                v.word in CLAIMS
                for v in verdicts[LOOKS[-1]].values()
                if v.contrast.family == family
            )
            for verdicts in decided
        ]
        assert np.mean(false) < limit
