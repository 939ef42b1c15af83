"""Contrasts pair what is comparable, and words are taken back where they would mislead."""

import shutil
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from statistics import fmean

import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from scipy import stats

from ablate.reporting.contrasts import changes_twin, contrasts
from ablate.reporting.power import power
from ablate.reporting.results import Results, read
from ablate.reporting.statistics import holm, interaction
from ablate.reporting.verdicts import Verdict, verdicts
from tests.reporting.conftest import Bench, paired


def one(found: tuple[Verdict, ...], family: str, level: str, held: str = "") -> Verdict:
    """Returns the only verdict on a level, in a family and perhaps with one level held."""
    matching = [
        verdict
        for verdict in found
        if (verdict.contrast.family, verdict.contrast.level) == (family, level)
        and (not held or held in dict(verdict.contrast.held).values())
    ]
    assert len(matching) == 1
    return matching[0]


def with_scores(results: Results, values: Mapping[tuple[str, str], list[float]]) -> Results:
    """Gives trials the scores listed by (masker, patchifier), a score a seed; twins have 30."""
    trials = tuple(
        replace(
            trial,
            score=values[trial.levels["masker"], trial.levels["patchifier"]][trial.seed],
            twin_score=30.0,
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


def test_each_level_meets_the_baseline_level_of_its_own_factor(bench: Bench) -> None:
    found = contrasts(bench.results())
    asked = [(c.family, c.factor, c.level, c.against, dict(c.held)) for c in found]
    strips, squares = {"patchifier": "strips"}, {"patchifier": "squares"}
    assert asked == [
        ("pooled", "masker", "block", "random", {}),
        ("pooled", "masker", "curriculum", "random", {}),
        ("pooled", "patchifier", "strips", "squares", {}),
        ("within", "masker", "block", "random", squares),
        ("within", "masker", "block", "random", strips),
        ("within", "masker", "curriculum", "random", squares),
        ("within", "masker", "curriculum", "random", strips),
        ("within", "patchifier", "strips", "squares", {"masker": "random"}),
        ("within", "patchifier", "strips", "squares", {"masker": "block"}),
        ("within", "patchifier", "strips", "squares", {"masker": "curriculum"}),
        ("learning", "", "trained", "random init", squares),
        ("learning", "", "trained", "random init", strips),
    ]


def test_a_factor_that_changes_the_twin_is_judged_by_the_gain(bench: Bench) -> None:
    results = bench.results()
    assert changes_twin(results, "patchifier")
    assert not changes_twin(results, "masker")
    measures = {c.factor: c.measure for c in contrasts(results) if c.family == "pooled"}
    assert measures == {"masker": "score", "patchifier": "gain"}


def test_the_gain_takes_the_own_twin_away(bench: Bench) -> None:
    results = with_scores(bench.results(), FLAT)
    trials = tuple(
        replace(trial, twin_score=33.0 if trial.levels["patchifier"] == "strips" else 30.0)
        for trial in results.trials
    )
    found = verdicts(replace(results, trials=trials))
    strips = one(found, "within", "strips", "random")
    scores = paired(FLAT["random", "strips"], FLAT["random", "squares"])
    assert strips.estimate.mean == pytest.approx((scores.mean or 0) - 3.0)


def test_a_contrast_is_paired_by_seed(bench: Bench) -> None:
    found = verdicts(with_scores(bench.results(), FLAT))
    block = one(found, "within", "block", "strips")
    expected = paired(FLAT["block", "strips"], FLAT["random", "strips"])
    assert block.estimate == expected
    assert block.correlation == pytest.approx(0.99, abs=0.01)


def differences(*, patchifier: str) -> list[float]:
    """Returns what block differs from random by in `FLAT`, a number a seed."""
    arms = zip(FLAT["block", patchifier], FLAT["random", patchifier], strict=True)
    return [block - random for block, random in arms]


def test_a_pooled_estimate_has_seeds_for_its_error(bench: Bench) -> None:
    rows = [
        (value, patchifier, f"seed {seed}")
        for patchifier in ("squares", "strips")
        for seed, value in enumerate(differences(patchifier=patchifier))
    ]
    frame = pd.DataFrame(rows, columns=["value", "patchifier", "seed"])
    anova = sm.stats.anova_lm(smf.ols("value ~ patchifier + seed", frame).fit())
    mean, error = frame["value"].mean(), (anova["mean_sq"]["seed"] / len(frame)) ** 0.5
    block = one(verdicts(with_scores(bench.results(), FLAT)), "pooled", "block").estimate
    assert block.n == 3
    assert (block.mean, block.error) == pytest.approx((mean, error))
    assert block.p == pytest.approx(2 * stats.t.sf(abs(mean / error), df=2))


def test_a_seed_that_lacks_a_combination_leaves_the_pooled_estimate(bench: Bench) -> None:
    block = one(verdicts(failed(with_scores(bench.results(), FLAT), "block")), "pooled", "block")
    both = zip(differences(patchifier="squares"), differences(patchifier="strips"), strict=True)
    assert block.contrast.differences == pytest.approx(dict([*enumerate(map(fmean, both))][1:]))
    assert (block.estimate.n, block.contrast.planned) == (2, 3)


def test_families_are_corrected_apart(bench: Bench) -> None:
    found = verdicts(with_scores(bench.results(), FLAT))
    for family in ("pooled", "learning"):
        members = [verdict for verdict in found if verdict.contrast.family == family]
        assert [v.p for v in members] == holm([v.estimate.p for v in members])
        depends = [interaction([*v.contrast.by_seed.values()]) for v in members]
        assert [v.interaction for v in members] == holm(depends)


def test_a_combination_is_no_surer_than_bonferroni_is_of_any_difference(bench: Bench) -> None:
    found = verdicts(with_scores(bench.results(), FLAT))
    for verdict in found:
        if verdict.contrast.family == "within":
            pooled = one(found, "pooled", verdict.contrast.level)
            surer = min(p for p in (pooled.p, pooled.interaction) if p is not None)
            assert (verdict.p or 0) >= min(2 * surer, 1)


def test_a_word_that_only_one_combination_would_give_is_withheld(bench: Bench) -> None:
    lucky = [*map(sum, zip(FLAT["random", "strips"], [9.0, 9.01, 9.02], strict=True))]
    wild = [*map(sum, zip(FLAT["random", "squares"], [-40.0, 12.0, 30.0], strict=True))]
    scores = FLAT | {("block", "strips"): lucky, ("block", "squares"): wild}
    strips = one(verdicts(with_scores(bench.results(), scores)), "within", "block", "strips")
    assert strips.word == "undecided"
    assert (
        "no verdict here: neither the pooled contrast nor an interaction is significant"
        in strips.notes
    )


def test_a_clear_loss_is_worse_and_a_clear_tie_is_equivalent(bench: Bench) -> None:
    found = verdicts(with_scores(bench.results(), FLAT))
    assert one(found, "pooled", "block").word == "worse"
    assert one(found, "pooled", "curriculum").word == "equivalent"


def test_a_clear_gain_over_random_init_is_learning(bench: Bench) -> None:
    found = verdicts(with_scores(bench.results(), FLAT))
    assert one(found, "learning", "trained", "strips").word == "better"


def test_an_interaction_takes_the_pooled_word_away(bench: Bench) -> None:
    reversed_on_strips = FLAT | {("block", "strips"): [48.1, 49.4, 50.3]}
    block = one(verdicts(with_scores(bench.results(), reversed_on_strips)), "pooled", "block")
    assert block.interaction is not None
    assert block.interaction < 0.05
    assert block.word == "differs by patchifier"
    assert block.further_seeds is None


def test_only_seeds_that_both_arms_have_are_paired(bench: Bench) -> None:
    plan = bench.build()
    shutil.rmtree(bench.runs / bench.fingerprint(0, masker="block", patchifier="strips"))
    shutil.rmtree(bench.runs / bench.fingerprint(1, masker="random", patchifier="strips"))
    block = one(verdicts(read(plan, bench.runs)), "within", "block", "strips")
    assert (block.estimate.n, block.contrast.planned) == (1, 3)
    assert block.word == "undecided"
    assert any(note.startswith("n < 2") for note in block.notes)


def test_a_combination_without_any_pair_is_named(bench: Bench) -> None:
    plan = bench.build()
    for seed in bench.seeds:
        shutil.rmtree(bench.runs / bench.fingerprint(seed, masker="block", patchifier="strips"))
    found = verdicts(read(plan, bench.runs))
    assert "no pair in 1 of 2 combinations" in one(found, "pooled", "block").notes
    assert one(found, "within", "block", "strips").estimate.n == 0


def failed(results: Results, masker: str) -> Results:
    """Lets the first seed of a masker on strips fail."""
    trials = tuple(
        replace(trial, state="failed", score=None)
        if trial.seed == 0 and trial.levels == {"masker": masker, "patchifier": "strips"}
        else trial
        for trial in results.trials
    )
    return replace(results, trials=trials)


BLOCK_WINS = FLAT | {
    ("block", "squares"): [50.2, 51.1, 52.4],
    ("block", "strips"): [53.1, 54.4, 55.0],
}


@pytest.mark.parametrize("masker", ["block", "random"])
def test_unequal_failure_rates_forbid_better(bench: Bench, masker: str) -> None:
    results = with_scores(bench.results(), BLOCK_WINS)
    assert one(verdicts(results), "pooled", "block").word == "better"
    block = one(verdicts(failed(results, masker)), "pooled", "block")
    assert block.word == "undecided"
    assert block.claim == "better"
    assert "would be better, but failure rates differ" in block.notes


def test_equal_failure_rates_allow_better(bench: Bench) -> None:
    results = failed(failed(with_scores(bench.results(), BLOCK_WINS), "block"), "random")
    assert one(verdicts(results), "pooled", "block").word == "better"


def test_a_level_that_fails_more_may_still_be_worse(bench: Bench) -> None:
    results = failed(with_scores(bench.results(), FLAT), "block")
    assert one(verdicts(results), "pooled", "block").word == "worse"


def test_a_baseline_that_fails_more_forbids_worse(bench: Bench) -> None:
    results = failed(with_scores(bench.results(), FLAT), "random")
    assert one(verdicts(results), "pooled", "block").word == "undecided"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"device": "cuda:0"}, "mixes devices or precisions"),
        ({"versions": {"torch": "2.14.0", "numpy": "2.4.6"}}, "mixes versions of libraries"),
        ({"ranks": 2}, "mixes numbers of ranks"),
    ],
)
def test_a_run_that_was_made_otherwise_marks_its_contrasts(
    bench: Bench, changes: dict[str, object], note: str
) -> None:
    plan = bench.build()
    for trial in plan["trials"]:
        bench.edit(trial["fingerprint"], ranks=1)
    bench.edit(bench.fingerprint(0, masker="block", patchifier="squares"), **changes)
    found = verdicts(read(plan, bench.runs))
    assert note in one(found, "within", "block", "squares").notes
    assert note not in one(found, "within", "block", "strips").notes


def test_two_gpus_of_one_machine_are_one_device(bench: Bench) -> None:
    plan = bench.build()
    for i, trial in enumerate(plan["trials"]):
        bench.edit(trial["fingerprint"], device=f"cuda:{i % 2}")
    found = verdicts(read(plan, bench.runs))
    assert not any("mixes" in note for v in found if v.contrast.factor for note in v.notes)


def test_one_factor_has_no_contrasts_within_a_combination(bench: Bench) -> None:
    bench.factors = {"masker": ["random", "block"]}
    assert [c.family for c in contrasts(bench.results())] == ["pooled", "learning"]


def test_no_factor_leaves_the_question_of_learning(bench: Bench) -> None:
    bench.factors = {}
    found = verdicts(bench.results())
    assert [verdict.contrast.family for verdict in found] == ["learning"]
    assert found[0].word == "better"


def test_three_factors_pool_over_both_others(bench: Bench) -> None:
    bench.factors = {"masker": ["a", "b"], "patchifier": ["c", "d"], "encoder": ["e", "f"]}
    bench.twin_factors = ("patchifier", "encoder")
    found = contrasts(bench.results())
    pooled = [contrast for contrast in found if contrast.family == "pooled"]
    assert [len(contrast.pairs) for contrast in pooled] == [4, 4, 4]
    assert pooled[0].others == ("patchifier", "encoder")
    assert len([contrast for contrast in found if contrast.family == "learning"]) == 4


def test_a_design_of_one_factor_at_a_time_contrasts_what_it_planned(bench: Bench) -> None:
    plan = bench.build()
    baseline = plan["baseline"]
    plan["trials"] = [
        trial
        for trial in plan["trials"]
        if sum(trial["levels"][name] != level for name, level in baseline.items()) < 2
    ]
    found = contrasts(read(plan, bench.runs))
    assert [(c.family, c.level) for c in found] == [
        ("pooled", "block"),
        ("pooled", "curriculum"),
        ("pooled", "strips"),
        ("learning", "trained"),
        ("learning", "trained"),
    ]
    assert dict(found[0].held) == {"patchifier": "squares"}


def test_fewer_seeds_are_asked_of_a_smaller_family(bench: Bench) -> None:
    bench.noise, bench.margin = 3.0, 4.0
    further = []
    for maskers in (["random", "block"], ["random", "block", "c", "d", "e", "f", "g"]):
        bench.factors = {"masker": maskers}
        found = one(verdicts(bench.results()), "pooled", "block")
        assert found.word == "undecided"
        further.append(found.further_seeds)
    assert all(less < more for less, more in pairwise(further) if less and more)
    assert None not in further


def test_a_combination_that_excludes_the_baseline_level_is_left_out(bench: Bench) -> None:
    plan = bench.build()
    excluded = {"masker": "random", "patchifier": "strips"}
    plan["trials"] = [trial for trial in plan["trials"] if trial["levels"] != excluded]
    block = contrasts(read(plan, bench.runs))[0]
    assert (block.level, len(block.pairs), dict(block.held)) == (
        "block",
        1,
        {"patchifier": "squares"},
    )


def test_a_detectable_difference_is_seen_in_four_studies_of_five(bench: Bench) -> None:
    found = verdicts(bench.results())
    families = Counter(verdict.contrast.family for verdict in found)
    for verdict in found:
        sd, family = verdict.estimate.sd, families[verdict.contrast.family]
        assert sd is not None
        assert verdict.detectable is not None
        assert power(verdict.detectable, sd, 3, alpha=0.05, family=family) == pytest.approx(0.8)


def test_one_seed_detects_nothing(bench: Bench) -> None:
    bench.seeds = (0,)
    assert {verdict.detectable for verdict in verdicts(bench.results())} == {None}
