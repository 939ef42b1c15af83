"""Variants can be told apart in every picture, and what has an interval is drawn with it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from ablate.reporting import interactive
from ablate.reporting.charts import _fit
from ablate.reporting.drawing import COLOURS, LINES, line_styles
from ablate.reporting.results import Results, Run, Trial

NOTHING = Run(state="missing", reason=None, record={}, scores=())


def results(*variants: dict[str, str]) -> Results:
    """Scored trials of some variants, one of each; their levels are all that a plan says."""
    names = list(dict.fromkeys(name for levels in variants for name in levels))
    found = {
        name: list(dict.fromkeys(levels[name] for levels in variants if name in levels))
        for name in names
    }
    trials = tuple(
        Trial(
            levels=levels,
            seed=0,
            fingerprint=None,
            plan={},
            asked=("knn", "mean"),
            run=NOTHING,
            twin=NOTHING,
            statistics=NOTHING,
            score=float(number),
            twin_score=None,
            statistics_score=None,
            state="done",
            reason=None,
        )
        for number, levels in enumerate(variants)
    )
    return Results(plan={"factors": found}, trials=trials)


@given(st.lists(st.integers(1, 28), min_size=1, max_size=3))
def test_variants_share_a_colour_and_line_only_where_there_are_more_than_pairs(
    sizes: list[int],
) -> None:
    grid = itertools.islice(itertools.product(*map(range, sizes)), 60)
    variants = [{f"factor {i}": str(level) for i, level in enumerate(each)} for each in grid]
    styles = line_styles(results(*variants))
    assert len(set(styles.values())) == len(variants) or len(variants) > len(COLOURS) * len(LINES)


def test_a_trial_without_a_level_of_some_factor_is_drawn_at_a_dash() -> None:
    variants = [{"masker": "block", "area": area} for area in ("small", "large")]
    [trace] = interactive.parallel_factors(results(*variants, {"masker": "random"}))["data"]
    masker, area, *_ = trace["dimensions"]
    assert (masker["ticktext"], masker["values"]) == (["block", "random"], [0, 0, 1])
    assert (area["ticktext"], area["values"]) == (["small", "large", "-"], [0, 1, 2])


def test_an_interval_that_ends_at_zero_has_room() -> None:
    axes = Figure().subplots()
    _fit(axes, [{"score": 10.0, "score_low": 0.0, "score_high": 20.0}])
    low, high = axes.get_ylim()
    assert low < 0.0
    assert high > 20.0
