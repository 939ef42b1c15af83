"""Failed runs and mixed software or hardware limit the verdicts."""

from statistics import fmean

import pytest

from ablate.report.pages.methods import get_devices
from ablate.report.results import read_results
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.chosen_scores import (
    FLAT,
    differences,
    end_first_seed,
    fail_first_seed,
    get_verdict,
    with_scores,
)
from tests.report.conftest import StudyBuilder

BLOCK_WINS = FLAT | {
    ("block", "squares"): [50.2, 51.1, 52.4],
    ("block", "strips"): [53.1, 54.4, 55.0],
}


@pytest.mark.parametrize("masker", ["block", "random"])
def test_unequal_failure_rates_forbid_better(builder: StudyBuilder, masker: str) -> None:
    results = with_scores(builder.results(), BLOCK_WINS)
    assert get_verdict(compute_verdicts(results), "pooled", "block").word == "better"
    block = get_verdict(compute_verdicts(fail_first_seed(results, masker)), "pooled", "block")
    assert block.word == "undecided"
    assert block.unrestricted_word == "better"
    assert "would be better, but failure rates differ" in block.notes


@pytest.mark.parametrize("state", ["pruned", "cancelled", "unscored"])
@pytest.mark.parametrize("masker", ["curriculum", "random"])
def test_trials_without_a_score_on_one_side_forbid_equivalent(
    builder: StudyBuilder, masker: str, state: str
) -> None:
    results = with_scores(builder.results(), FLAT)
    assert get_verdict(compute_verdicts(results), "pooled", "curriculum").word == "equivalent"
    lost = end_first_seed(results, masker, state=state)
    verdict = get_verdict(compute_verdicts(lost), "pooled", "curriculum")
    assert verdict.word == "undecided"
    counts = "0 vs 1" if masker == "random" else "1 vs 0"
    assert f"trials without a score: {counts}" in verdict.notes


@pytest.mark.parametrize("state", ["missing", "running", "preempted"])
def test_trials_that_are_still_to_come_forbid_nothing(builder: StudyBuilder, state: str) -> None:
    results = end_first_seed(with_scores(builder.results(), BLOCK_WINS), "block", state=state)
    assert get_verdict(compute_verdicts(results), "pooled", "block").word == "better"


def test_a_level_with_fallen_runs_is_named(builder: StudyBuilder) -> None:
    fallen = FLAT | {("block", "strips"): [38.1, 9.4, 40.3]}
    verdicts = compute_verdicts(with_scores(builder.results(), fallen))
    named = [v.contrast.level for v in verdicts if "unstable: block, 1 of" in "; ".join(v.notes)]
    assert {*named} == {"block"}
    flat = compute_verdicts(with_scores(builder.results(), FLAT))
    assert not any("unstable" in note for verdict in flat for note in verdict.notes)


def test_equal_failure_rates_allow_better(builder: StudyBuilder) -> None:
    results = fail_first_seed(
        fail_first_seed(with_scores(builder.results(), BLOCK_WINS), "block"), "random"
    )
    assert get_verdict(compute_verdicts(results), "pooled", "block").word == "better"


def test_a_level_that_fails_more_may_still_be_worse(builder: StudyBuilder) -> None:
    results = fail_first_seed(with_scores(builder.results(), FLAT), "block")
    assert get_verdict(compute_verdicts(results), "pooled", "block").word == "worse"


def test_a_baseline_that_fails_more_forbids_worse(builder: StudyBuilder) -> None:
    results = fail_first_seed(with_scores(builder.results(), FLAT), "random")
    assert get_verdict(compute_verdicts(results), "pooled", "block").word == "undecided"


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"device": "cuda:0"}, "mixes devices or precisions"),
        ({"versions": {"torch": "2.14.0", "numpy": "2.4.6"}}, "mixes versions of libraries"),
        ({"ranks": 2}, "mixes numbers of ranks"),
    ],
)
def test_a_run_with_other_software_or_hardware_marks_its_contrasts(
    builder: StudyBuilder, changes: dict[str, object], note: str
) -> None:
    plan = builder.build()
    for trial in plan.trials:
        builder.edit(trial.fingerprint, ranks=1)
    builder.edit(builder.fingerprint(0, masker="block", patchifier="squares"), **changes)
    verdicts = compute_verdicts(read_results(plan, builder.runs))
    assert note in get_verdict(verdicts, "within", "block", "squares").notes
    assert note not in get_verdict(verdicts, "within", "block", "strips").notes


def test_a_run_that_failed_before_it_trained_mixes_no_precisions(builder: StudyBuilder) -> None:
    plan = builder.build()
    for trial in plan.trials:
        builder.edit(trial.fingerprint, device="cpu", precision="fp32")
    lost = builder.fingerprint(0, masker="block", patchifier="squares")
    builder.edit(lost, device="cpu", precision=None, state="failed")
    assert get_devices(read_results(plan, builder.runs)) == {"cpu fp32"}


def test_two_gpus_of_one_machine_are_one_device(builder: StudyBuilder) -> None:
    plan = builder.build()
    for i, trial in enumerate(plan.trials):
        builder.edit(trial.fingerprint, device=f"cuda:{i % 2}")
    verdicts = compute_verdicts(read_results(plan, builder.runs))
    assert not any("mixes" in note for v in verdicts if v.contrast.factor for note in v.notes)


def test_a_level_that_the_error_leaves_out_is_named(builder: StudyBuilder) -> None:
    complete = get_verdict(
        compute_verdicts(with_scores(builder.results(), FLAT)), "within", "block", "strips"
    )
    failed = fail_first_seed(with_scores(builder.results(), FLAT), "curriculum")
    lacking = get_verdict(compute_verdicts(failed), "within", "block", "strips")
    note = "error estimated without curriculum, which has no score on seed 0"
    assert note in lacking.notes
    assert note not in complete.notes
    assert lacking.estimate.standard_error != complete.estimate.standard_error


def test_a_seed_without_all_combinations_is_not_in_the_pooled_estimate(
    builder: StudyBuilder,
) -> None:
    block = get_verdict(
        compute_verdicts(fail_first_seed(with_scores(builder.results(), FLAT), "block")),
        "pooled",
        "block",
    )
    both = zip(differences(patchifier="squares"), differences(patchifier="strips"), strict=True)
    assert block.contrast.differences == pytest.approx(dict([*enumerate(map(fmean, both))][1:]))
    assert (block.estimate.n, block.contrast.num_planned_seeds) == (2, 3)
