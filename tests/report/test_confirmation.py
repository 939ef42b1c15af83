"""Variants are selected by validation scores and confirmed on other seeds."""

import json
from dataclasses import replace

import pytest

from ablate.core.records.plan import StudyPlan
from ablate.report.pages.methods import write_protocol
from ablate.report.pages.sentences import write_sentences
from ablate.report.results import read_results
from ablate.report.stats.ranks import select_leading_variants
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.conftest import StudyBuilder
from tests.run_folders import rewrite_score


def confirmed(builder: StudyBuilder) -> StudyPlan:
    """Returns a plan in which the best masker and the baseline have five fresh seeds."""
    builder.factors, builder.noise = {"masker": ["random", "block", "curriculum"]}, 0.3
    builder.random_init_factors = ()
    builder.levels_score = lambda levels: 43.0 if levels["masker"] == "block" else 40.0
    builder.seeds = tuple(range(8))
    plan = builder.build()
    fresh = [t for t in plan.trials if t.seed > 2 and t.levels["masker"] != "curriculum"]
    usual = [t for t in plan.trials if t.seed < 3]
    return replace(plan, trials=(*usual, *(replace(trial, confirms=True) for trial in fresh)))


def test_fresh_seeds_are_used_for_the_confirmation_only(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(read_results(confirmed(builder), builder.runs))
    seeds = {v.contrast.family: {*v.contrast.differences} for v in verdicts}
    assert seeds.pop("confirmation") == {3, 4, 5, 6, 7}
    assert seeds == {name: {0, 1, 2} for name in ("pooled", "learning", "untrained")}
    [verdict] = [v for v in verdicts if v.contrast.family == "confirmation"]
    assert (verdict.contrast.level, verdict.contrast.against) == ("block", "random")
    assert verdict.word == "better"


def test_the_report_has_the_confirmation(builder: StudyBuilder) -> None:
    plan = confirmed(builder)
    results = read_results(plan, builder.runs)
    sentences = [str(sentence) for sentence in write_sentences(compute_verdicts(results))]
    assert any("On fresh seeds, block is better than random by" in line for line in sentences)
    text = " ".join(write_protocol(results))
    assert "trained again with fresh seeds (3, 4, 5, 6, 7)" in text


def test_leading_variants_are_selected_by_validation_score(builder: StudyBuilder) -> None:
    plan = confirmed(builder)
    for path in builder.runs.glob("*/probes/*/*.json"):
        result = json.loads(path.read_text())
        for score in result["scores"].values():  # whoever looks at the test data is misled
            score["test"] = 100.0 - score["test"]
        rewrite_score(path, result)
    selected = select_leading_variants(read_results(plan, builder.runs), 2)
    assert selected[0] == ("block",)
    assert len(selected) == 2


def test_a_variant_with_a_failed_trial_is_not_selected(builder: StudyBuilder) -> None:
    plan = confirmed(builder)
    builder.fail(builder.fingerprint(0, masker="block"))
    assert ("block",) not in select_leading_variants(read_results(plan, builder.runs), 3)


def test_selection_without_validation_scores_is_rejected(builder: StudyBuilder) -> None:
    plan = confirmed(builder)
    for path in builder.runs.glob("*/probes/music/*.json"):
        result = json.loads(path.read_text())
        for score in result["scores"].values():
            score["valid"] = None
        rewrite_score(path, result)
    with pytest.raises(
        ValueError, match="selects variants by validation score, but random has none on music"
    ):
        select_leading_variants(read_results(plan, builder.runs), 1)


def test_selecting_no_variant_is_rejected(builder: StudyBuilder) -> None:
    with pytest.raises(ValueError, match=r"`confirm.top` must be at least 1 variant; got 0"):
        select_leading_variants(builder.results(), 0)
