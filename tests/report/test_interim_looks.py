"""Decisions at interim looks are kept, at the error level of the look."""

import json
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ablate.core.records.plan import RecordedLooks
from ablate.report.pages import sentences
from ablate.report.report import write_report
from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.verdicts import compute_verdicts, list_undecided_contrasts
from tests.report.conftest import StudyBuilder

MOST = 8
DECIDED = ("better", "worse", "equivalent", "differs")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A study of one factor with three levels; tests set the scores."""
    builder = StudyBuilder(
        tmp_path_factory.mktemp("study"), seeds=tuple(range(MOST)), random_init_factors=()
    )
    builder.factors = {"masker": ["random", "block", "noise"]}
    return builder.results()


def at_looks(results: Results, *counts: int, most: int = MOST) -> Results:
    """Returns the results at the last of these looks."""
    seeds = tuple(range(counts[-1]))
    looks = RecordedLooks(seed_counts=counts, max_seeds=most)
    trials = tuple(trial for trial in results.trials if trial.seed in seeds)
    plan = replace(results.plan, seeds=seeds, looks=looks)
    return replace(results, plan=plan, trials=trials)


def with_differences(results: Results, differences: Mapping[str, list[float]]) -> Results:
    """Sets the differences of maskers to `random`, one per seed; at random init, scores are 30."""
    trials = tuple(
        replace(
            trial,
            score=40.0
            + trial.seed
            + differences.get(trial.levels["masker"], [0.0] * MOST)[trial.seed],
            random_init_score=30.0,
        )
        for trial in results.trials
    )
    return replace(results, trials=trials)


def block(results: Results) -> Verdict:
    return next(v for v in compute_verdicts(results) if v.contrast.level == "block")


EARLY = {  # significant with three seeds, not with all
    "block": [90.0, 91.0, 90.5, -160.0, 140.0, 20.0, 90.0, 80.0],
    "noise": [0.5, -4.0, 4.0, 3.0, -2.0, 1.0, -1.0, 0.5],
}


def test_the_verdict_of_an_earlier_look_is_kept_and_the_look_is_reported(study: Results) -> None:
    early = with_differences(study, EARLY)
    late = block(at_looks(early, 3, 5, 8))
    assert block(at_looks(early, 8)).word == "undecided"  # all seeds together do not show it
    assert (block(at_looks(early, 3)).word, late.word, late.decided_at) == ("better", "better", 3)
    assert (late.estimate.n, late.num_further_seeds) == (8, None)
    [sentence] = sentences.write_sentences([late])
    assert "decided at the look with 3 seeds" in str(sentence)


def test_a_contrast_decided_at_an_earlier_look_is_not_open(study: Results) -> None:
    late = compute_verdicts(at_looks(with_differences(study, EARLY), 3, 5))
    assert list_undecided_contrasts(late) == ["masker: noise against random"]


def test_a_verdict_contradicted_by_the_mean_over_all_seeds_is_withdrawn(study: Results) -> None:
    turned = [9.0, 9.1, 9.05, -60.0, -14.0, -20.0, -19.0, -8.0]
    late = block(at_looks(with_differences(study, {"block": turned}), 3, 8))
    assert (late.unrestricted_word, late.word) == ("better", "undecided")
    assert any(note.startswith("not called better") for note in late.notes)


def test_an_equivalence_contradicted_by_the_mean_over_all_seeds_is_withdrawn(
    study: Results,
) -> None:
    drifting = [0.0, 0.1, 0.0, 0.05, 0.1, 8.0, 8.2, 7.9]
    early, late = (
        block(at_looks(with_differences(study, {"block": drifting}), *counts))
        for counts in ((5,), (5, 8))
    )
    assert early.word == "equivalent"
    assert (late.unrestricted_word, late.word) == ("equivalent", "undecided")
    assert late.notes[-1].startswith("not called equivalent: the mean over all seeds is not within")


UNTRAINED = {  # baseline -> its score by seed; the encoders score 40 plus the seed
    "log-mel mean": [3.0 + 0.1 * (seed % 2) for seed in range(MOST)],
    "log-mel deltas": [*[-20.0] * 5, *[65.0] * 2, -200.0],
}


def with_baselines(results: Results) -> Results:
    """Gives every trial two baselines of which another one leads at each look."""
    trials = tuple(
        replace(
            trial,
            untrained_scores={
                name: 40.0 + trial.seed - 10.0 + shifts[trial.seed]
                for name, shifts in UNTRAINED.items()
            },
        )
        for trial in results.trials
    )
    return replace(results, trials=trials)


def test_a_word_about_one_baseline_is_not_used_for_another(study: Results) -> None:
    drawn = with_baselines(with_differences(study, EARLY))

    def decide(*counts: int) -> Verdict:
        verdicts = compute_verdicts(at_looks(drawn, *counts))
        return next(
            v for v in verdicts if v.contrast.family == "untrained" and v.contrast.level == "random"
        )

    early, changed, again = decide(5), decide(5, 7), decide(5, 7, 8)
    assert (early.contrast.against, early.word) == ("log-mel mean", "better")
    assert (changed.contrast.against, changed.word) == ("log-mel deltas", "undecided")
    assert changed.p == 1.0
    # the comparison comes back, and with it the decision of the look that made it
    assert (again.contrast.against, again.word) == ("log-mel mean", "better")
    assert again.decided_at == 5


def test_a_later_interaction_replaces_a_pooled_verdict(builder: StudyBuilder) -> None:
    builder.factors = {"masker": ["random", "block"], "patchifier": ["squares", "strips"]}
    builder.seeds = tuple(range(MOST))
    effects = [3.0, 8.0, 5.5, 5.0, 5.1, 4.9, 5.2, 5.0]  # effect of the patchifier by seed

    def score(levels: Mapping[str, str], seed: int) -> float:
        half = effects[seed] / 2
        return 60 + 0.01 * seed + (half if levels["patchifier"] == "strips" else -half)

    grid = builder.results()
    trials = tuple(
        replace(t, score=40.0 if t.levels["masker"] == "random" else score(t.levels, t.seed))
        for t in grid.trials
    )
    looked = [block(at_looks(replace(grid, trials=trials), *at)) for at in ((3,), (3, 8))]
    assert [verdict.word for verdict in looked] == ["better", "differs by patchifier"]
    assert [verdict.decided_at for verdict in looked] == [3, 8]


@given(st.integers(0, 10**6))
def test_no_decided_verdict_is_lost_at_a_later_look(study: Results, seed: int) -> None:
    generator = np.random.default_rng(seed)
    effect = generator.choice([0.0, 1.2, 3.0])
    drawn = with_differences(study, {"block": (effect + generator.normal(size=MOST)).tolist()})
    before = "undecided"
    for counts in ((3,), (3, 5), (3, 5, 7), (3, 5, 7, 8)):
        verdict = block(at_looks(drawn, *counts))
        assert before == "undecided" or before in (verdict.word, verdict.unrestricted_word)
        before = verdict.word


@pytest.mark.parametrize(("counts", "percent"), [((3,), "99.74 %"), ((3, 7), "96.87 %")])
def test_interval_columns_name_their_coverage(
    builder: StudyBuilder, counts: tuple[int, ...], percent: str
) -> None:
    builder.seeds = tuple(range(counts[-1]))
    plan = replace(builder.build(), looks=RecordedLooks(seed_counts=counts, max_seeds=MOST))
    write_report(plan, builder.runs, builder.report)
    findings = json.loads((builder.report / "findings.json").read_text())
    assert 1 - findings["alpha"] == pytest.approx(float(percent[:-2]) / 100, abs=1e-4)
    row = findings["verdicts"][0]
    assert row["interval_alpha"] == findings["alpha"]
    learning = next(row for row in findings["verdicts"] if row["family"] == "learning")
    half = (learning["difference_high"] - learning["difference_low"]) / 2
    error = learning["sd"] / learning["n"] ** 0.5
    assert 2 * stats.t.sf(half / error, learning["n"] - 1) == pytest.approx(findings["alpha"])
    text = (builder.report / "report.md").read_text()
    assert f"{percent} interval |" in text
    assert f"Intervals of differences are {percent}, uncorrected" in text
    assert f"uncorrected {percent} interval" in text


def test_a_look_spends_its_share_of_the_error(study: Results) -> None:
    drawn = with_differences(study, EARLY)
    fixed = replace(at_looks(drawn, 3), plan=replace(study.plan, seeds=(0, 1, 2)))
    for once, sequential in zip(
        compute_verdicts(fixed), compute_verdicts(at_looks(drawn, 3, most=6)), strict=True
    ):
        if once.p is not None:
            assert sequential.p == pytest.approx(min(8 * once.p, 1.0))  # half the seeds, cubed
        assert (once.estimate.low or 0) >= (sequential.estimate.low or 0)


def test_seeds_beyond_the_declared_ones_decide_nothing(study: Results) -> None:
    clear = {"block": [9.0, -9.0, *[9.0 + 0.01 * i for i in range(6)]]}
    past = at_looks(with_differences(study, clear), 2, 8, most=2)
    assert block(past).word == "undecided"
