"""The components of the spread over crossed seeds are estimated, and no verdict uses them."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.records.plan import SeedPurposes
from ablate.report.pages.seed_table import build_seed_table
from ablate.report.pages.tables import build_failure_table
from ablate.report.results import Results
from ablate.report.stats.seed_components import REST, estimate_components
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.conftest import StudyBuilder

EFFECTS = st.lists(st.floats(-5, 5), min_size=3, max_size=4)


@given(init=EFFECTS, order=EFFECTS, masks=EFFECTS)
def test_effects_that_only_add_up_are_estimated_exactly_and_leave_no_rest(
    init: list[float], order: list[float], masks: list[float]
) -> None:
    scores = 40 + np.add.outer(np.add.outer(init, order), masks)
    components = estimate_components(scores, ("init", "order", "masks"))
    for name, effects in (("init", init), ("order", order), ("masks", masks)):
        assert components[name].sd == pytest.approx(np.std(effects, ddof=1), abs=1e-5)
    assert components[REST].sd == pytest.approx(0, abs=1e-5)


def test_scores_without_common_effects_are_all_rest_and_the_interval_allows_it() -> None:
    noise = np.random.default_rng(3).normal(size=(12, 12))
    components = estimate_components(noise, ("init", "order"))
    assert components[REST].sd == pytest.approx(1, abs=0.5)  # over five standard errors of 0.06
    assert components[REST].share_high == 1 or components["init"].share_low > 0


def cross(results: Results) -> Results:
    """Returns results of one variant with 3 x 3 seeds of init and order, as if masks were held."""
    first, *_ = results.variants().values()
    trials = []
    for number, (init, order) in enumerate(product(range(3), repeat=2)):
        plan = replace(
            first[0].plan,
            seed=number,
            settings={"seed": init, "order_seed": order, "mask_seed": 0},
            crosses=init != order,
        )
        score = 40.0 + 2 * init + order
        trials.append(replace(first[0], seed=number, plan=plan, score=score))
    purposes = SeedPurposes(varied=("init", "order"), held=("masks",), crossed=True)
    return replace(
        results,
        plan=replace(results.plan, separate_seeds=purposes),
        trials=tuple(t for t in trials if not t.plan.crosses),
        crossing_trials=tuple(t for t in trials if t.plan.crosses),
    )


def test_verdicts_use_trials_without_common_seeds_and_name_what_is_held(
    builder: StudyBuilder,
) -> None:
    results = cross(builder.results())
    verdicts = compute_verdicts(results)
    assert {verdict.contrast.num_planned_seeds for verdict in verdicts} == {3}
    scope = "over new initial weights, order of clips only; held: masks"
    assert all(verdict.notes[-1] == scope for verdict in verdicts)
    init, order, rest, *_ = build_seed_table(results).rows
    assert (init["sd"], order["sd"], rest["sd"]) == pytest.approx((2, 1, 0), abs=1e-5)


def test_components_are_not_estimated_from_a_part_of_the_trials(builder: StudyBuilder) -> None:
    results = cross(builder.results())
    *scored, last = results.crossing_trials
    results = replace(results, crossing_trials=(*scored, replace(last, score=None)))
    [row] = build_seed_table(results).rows
    assert row["source"] == "not known: 8 of 9 trials are scored"


def test_components_are_not_estimated_if_a_combination_was_not_planned(
    builder: StudyBuilder,
) -> None:
    results = cross(builder.results())
    results = replace(results, crossing_trials=results.crossing_trials[:-1])
    [row] = build_seed_table(results).rows
    assert row["source"] == "not known: 8 of 9 trials are scored"


def test_scores_of_crossing_trials_are_listed_under_a_kind_of_their_own(
    builder: StudyBuilder,
) -> None:
    results = cross(builder.results())
    frame = results.scores()
    seeds = {kind: set(rows["seed"]) for kind, rows in frame.groupby("kind")}
    assert seeds["crossing"] == {trial.seed for trial in results.crossing_trials}
    assert seeds["jepa"] == seeds["random_init"] == {trial.seed for trial in results.trials}


def test_a_failed_crossing_trial_is_in_the_table_of_failures(
    builder: StudyBuilder,
) -> None:
    results = cross(builder.results())
    *scored, last = results.crossing_trials
    failed = replace(last, score=None, state="failed", reason="nan")
    results = replace(results, crossing_trials=(*scored, failed))
    rows = build_failure_table(results).rows
    assert [(row["seed"], row["reason"]) for row in rows] == [(last.seed, "nan")]
