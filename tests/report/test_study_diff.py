"""Two sets of results differ only if scores moved by more than noise."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ablate.core.records.plan import ScoreView
from ablate.report.results import Results, read_results
from ablate.report.stats.study_diff import build_comparison_table
from tests.report.conftest import StudyBuilder, paired


def moved(results: Results, by: dict[str, float], *, noise: float = 0.1) -> Results:
    """Returns slightly noisy results of other runs, with shifted scores of some maskers."""
    draw = np.random.default_rng(3)
    trials = tuple(
        replace(
            trial,
            fingerprint=f"{trial.fingerprint}-again",
            score=(trial.score or 0.0)
            + by.get(trial.levels["masker"], 0.0)
            + draw.normal(0, noise),
        )
        for trial in results.trials
    )
    return replace(results, trials=trials)


def words(one: Results, other: Results) -> dict[str, str]:
    return {row["variant"]: row["moved"] for row in build_comparison_table(one, other).rows}


def test_the_same_runs_have_not_moved(builder: StudyBuilder) -> None:
    results = builder.results()
    assert set(words(results, results).values()) == {"the same runs"}


def test_moved_variants_are_distinguished_from_noise(builder: StudyBuilder) -> None:
    builder.factors = {"masker": ["random", "block", "curriculum"]}
    results = builder.results()
    changes = words(results, moved(results, {"block": 9.0, "curriculum": -9.0}))
    assert changes == {"random": "within noise", "block": "rose", "curriculum": "fell"}


def test_equal_seeds_are_paired_and_different_ones_are_not(builder: StudyBuilder) -> None:
    builder.factors = {"masker": ["random"]}
    one = builder.results()
    other = moved(one, {}, noise=1.0)
    before, after = ([trial.score or 0.0 for trial in results.trials] for results in (one, other))
    row = build_comparison_table(one, other).rows[0]
    assert row["p_holm"] == pytest.approx(paired(after, before).p)
    shifted = replace(other, trials=tuple(replace(t, seed=t.seed + 5) for t in other.trials))
    row = build_comparison_table(one, shifted).rows[0]
    assert row["p_holm"] == pytest.approx(stats.ttest_ind(after, before, equal_var=False).pvalue)


def test_a_variant_of_one_study_only_is_marked(builder: StudyBuilder) -> None:
    results = builder.results()
    half = tuple(t for t in results.trials if t.levels["masker"] != "block")
    changes = words(replace(results, trials=half), results)
    assert changes["block, squares"] == "only in the second"
    assert changes["random, squares"] == "the same runs"


def test_numbers_of_seeds_are_in_the_order_of_the_studies(builder: StudyBuilder) -> None:
    results = builder.results()
    fewer = replace(results, trials=tuple(t for t in results.trials if t.seed < 2))
    for one, other, counts in ((results, fewer, "3 and 2"), (fewer, results, "2 and 3")):
        assert {row["seeds"] for row in build_comparison_table(one, other).rows} == {counts}


def test_one_seed_is_too_few(builder: StudyBuilder) -> None:
    builder.seeds = (0,)
    results = builder.results()
    assert set(words(results, moved(results, {})).values()) == {"too few seeds to tell"}


def test_studies_with_different_scores_are_not_compared(builder: StudyBuilder) -> None:
    results = builder.results()
    score = ScoreView(probe="linear", pooling="mean")
    other = read_results(replace(results.plan, score=score), builder.runs)
    with pytest.raises(ValueError, match=r"`knn.concat_freq` and `linear.mean` cannot be compared"):
        build_comparison_table(results, other)


def test_noise_rarely_counts_as_a_change(builder: StudyBuilder) -> None:
    builder.factors = {"masker": [str(number) for number in range(12)]}
    results, draw = builder.results(), np.random.default_rng(4)

    def wrong() -> bool:
        scores = iter(draw.normal(40, 1, len(results.trials)).tolist())
        trials = (replace(t, fingerprint="x", score=next(scores)) for t in results.trials)
        changes = words(results, replace(results, trials=tuple(trials)))
        return bool({"rose", "fell"} & set(changes.values()))

    noisy = [replace(t, score=float(draw.normal(40, 1))) for t in results.trials]
    results = replace(results, trials=tuple(noisy))
    assert 0.0 < np.mean([wrong() for _ in range(300)]) <= 0.08
