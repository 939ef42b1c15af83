"""Figures show every variant and contrast distinguishably, with intervals."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from ablate.report.figures import plotly
from ablate.report.figures.charts import _set_score_limits, _spread_equal_costs, draw_cost
from ablate.report.figures.contrasts import _build_rows, _compute_limits, draw_forest
from ablate.report.figures.highlights import MAX_HIGHLIGHTS
from ablate.report.figures.inline import inline_svg
from ablate.report.figures.learning_curves import draw_learning_curves
from ablate.report.figures.metrics import read_curves
from ablate.report.figures.scores import _draw_reference, draw_scores
from ablate.report.figures.style import COLOURS, LINE_STYLES, VERDICT_MARKERS, assign_line_styles
from ablate.report.pages.cost import build_cost_table
from ablate.report.pages.tables import build_variant_table
from ablate.report.results import Results, TrialResult
from ablate.report.run import RunResult
from ablate.report.stats.verdicts import compute_verdicts
from tests.plans import make_entry, make_plan
from tests.report.conftest import StudyBuilder

NOTHING = RunResult(state="missing", reason=None, record={}, scores=())


def results(*variants: dict[str, str]) -> Results:
    """Returns one scored trial per variant, with a plan of their levels."""
    names = list(dict.fromkeys(name for levels in variants for name in levels))
    results = {
        name: tuple(dict.fromkeys(levels[name] for levels in variants if name in levels))
        for name in names
    }
    trials = tuple(
        TrialResult(
            levels=levels,
            seed=0,
            fingerprint="f",
            plan=make_entry("f", levels=levels),
            probe_key=("knn", "mean"),
            run=NOTHING,
            random_init=NOTHING,
            mel_statistics=NOTHING,
            score=float(number),
            random_init_score=None,
            mel_statistics_score=None,
            untrained_scores={},
            state="done",
            reason=None,
        )
        for number, levels in enumerate(variants)
    )
    return Results(plan=make_plan(factors=results), trials=trials)


def test_variants_have_distinct_styles_up_to_the_number_of_styles() -> None:
    most = len(COLOURS) * len(LINE_STYLES)
    for firsts, rests in itertools.product(range(1, most + 1), repeat=2):
        grid = itertools.product(map(str, range(firsts)), map(str, range(rests)))
        if firsts * rests <= most:
            styles = assign_line_styles(results(*({"a": one, "b": other} for one, other in grid)))
            assert len(set(styles.values())) == firsts * rests, (firsts, rests)


def test_a_factor_that_does_not_apply_is_drawn_as_a_dash() -> None:
    blocks = [{"masker": "block", "area": area} for area in ("small", "large")]
    [trace] = plotly.build_parallel_factors(results(*blocks, {"masker": "random"}))["data"]
    masker, area, *_ = trace["dimensions"]
    assert (masker["ticktext"], masker["values"]) == (["block", "random"], [0, 0, 1])
    assert (area["ticktext"], area["values"]) == (["small", "large", "-"], [0, 1, 2])


def test_plotly_draws_every_contrast_in_the_colour_of_its_verdict(builder: StudyBuilder) -> None:
    builder.levels_score = lambda levels: 40.0 + 9.0 * (levels["masker"] == "block")
    results = compute_verdicts(builder.results())
    drawn = plotly.build_forest(builder.results(), results)["data"]
    assert {trace["name"]: trace["marker"]["color"] for trace in drawn} == {
        word: VERDICT_MARKERS[word][0] for word in {verdict.word for verdict in results}
    }
    labels = [label for trace in drawn for label in trace["y"]]
    assert len(labels) == len(results)
    assert "block \N{MINUS SIGN} random (pooled over patchifier): better" in labels
    assert "strips \N{MINUS SIGN} squares (block, by gain): undecided" in labels


def test_plotly_draws_a_contrast_without_an_interval_as_a_point(builder: StudyBuilder) -> None:
    builder.seeds = (0,)
    [trace] = plotly.build_forest(builder.results(), compute_verdicts(builder.results()))["data"]
    assert None not in trace["x"]
    assert set(trace["error_x"]["array"]) == {None}


def test_the_corrected_interval_of_an_undecided_contrast_includes_zero(
    builder: StudyBuilder,
) -> None:
    builder.factors = {"masker": [f"masker {i}" for i in range(10)]}
    builder.levels_score = lambda levels: 40.0 + 0.1 * int(levels["masker"][-1])
    builder.seeds, builder.margin = tuple(range(8)), 0.1
    rows = [row for row in _build_rows(compute_verdicts(builder.results())) if not row.panel]
    rows = [row for row in rows if row.verdict.word == "undecided"]
    clear = [row for row in rows if row.verdict.estimate.low * row.verdict.estimate.high > 0]
    assert clear  # the usual interval does not show why
    assert all(row.strict.low < 0 < row.strict.high for row in rows)


def test_the_axis_of_contrasts_is_limited_to_data_zero_and_margin(builder: StudyBuilder) -> None:
    builder.seeds = tuple(range(8))
    builder.levels_score = lambda levels: 40.0 - 9.0 * (levels["masker"] != "random")
    rows = [row for row in _build_rows(compute_verdicts(builder.results())) if not row.panel]
    low, high = _compute_limits(rows, margin=2.0)
    assert low < -9.0
    assert 2.0 < high < 4.0


def test_learning_contrasts_have_their_own_axis_and_are_grey(
    builder: StudyBuilder,
) -> None:
    builder.factors = {"masker": ["random", "block"]}  # blocks are neither better nor worse
    builder.noise = 0.05
    results = compute_verdicts(builder.results())
    assert [v.word for v in results if v.contrast.family == "learning"] == ["better"]
    drawn = draw_forest(builder.results(), results)
    assert drawn is not None
    assert "did it learn?" in drawn.svg
    assert VERDICT_MARKERS["better"][0].lower() not in drawn.svg.lower()


def test_the_forest_plot_names_the_combinations_and_the_margin(builder: StudyBuilder) -> None:
    drawn = draw_forest(builder.results(), compute_verdicts(builder.results()))
    assert drawn is not None
    assert ">with random<" in drawn.svg  # label of a contrast of strips with squares
    assert ">equivalent \N{PLUS-MINUS SIGN} 2<" in drawn.svg


def test_the_legend_of_scores_names_only_what_is_drawn(builder: StudyBuilder) -> None:
    for has_reference in (True, False):
        results = builder.results()
        if not has_reference:
            rest = [replace(trial, mel_statistics_score=None) for trial in results.trials]
            results = replace(results, trials=tuple(rest))
        drawn = draw_scores(results, build_variant_table(results))
        assert drawn is not None
        assert (">mel statistics<" in drawn.svg) is has_reference
        assert ">random init<" in drawn.svg


def test_a_reference_that_is_equal_in_all_rows_is_one_line() -> None:
    for values, lines in (((28.0, 28.0, 28.0), 1), ((28.0, 29.0, 28.0), 3), ((28.0, None), 1)):
        axes = Figure().subplots()
        _draw_reference(axes, "mel_statistics", [{"mel_statistics": value} for value in values])
        is_equal = len(set(values)) == 1
        assert len(axes.lines) == is_equal  # one line through all rows
        in_rows = [segment for each in axes.collections for segment in each.get_segments()]
        assert len(axes.lines) + len(in_rows) == lines


def test_variants_with_identical_curves_are_one_line_with_all_names(builder: StudyBuilder) -> None:
    results = builder.results()
    own = read_curves(results, builder.runs)
    drawn = draw_learning_curves(results, own)
    assert drawn is not None
    assert ">random, squares<" in drawn.svg
    first = {curve.quantity: curve for curve in own if curve.levels == ("random", "squares")}
    shared = [
        replace(first[curve.quantity], levels=curve.levels)
        if curve.levels[0] == "random"
        else curve
        for curve in own
    ]
    drawn = draw_learning_curves(results, shared)
    assert drawn is not None
    assert ">random, squares / random, strips<" in drawn.svg
    assert ">random, squares<" not in drawn.svg
    lines = plotly.build_learning_curves(shared, "loss")["data"]
    named = [line["name"] for line in lines if line.get("showlegend", True)]
    assert "random, squares / random, strips" in named
    assert not {"random, squares", "random, strips"} & {*named}


def test_many_variants_have_a_shaded_range_instead_of_lines_per_seed(builder: StudyBuilder) -> None:
    results = builder.results()
    for most, words in ((4, "thin: each seed"), (5, "shaded: from the lowest seed")):
        names = list(results.variants())[:most]
        curves = [curve for curve in read_curves(results, builder.runs) if curve.levels in names]
        drawn = draw_learning_curves(results, curves)
        assert drawn is not None
        assert words in drawn.caption
        assert ("fill-opacity: 0.08" in drawn.svg) == (most == 5)


def test_a_figure_of_many_variants_names_the_baseline_and_the_extremes(tmp_path: Path) -> None:
    levels = [f"m{number}" for number in range(30)]
    builder = StudyBuilder(
        tmp_path,
        factors={"masker": levels},
        seeds=(0,),
        levels_score=lambda own: 30.0 + int(own["masker"][1:]) % 29,
        noise=0.0,
    )
    results = builder.results()
    drawn = draw_learning_curves(results, read_curves(results, builder.runs))
    assert drawn is not None
    named = set(re.findall(r">(m\d+)<", drawn.svg))
    assert {"m0", "m28", "m27"} < named
    assert len(named) <= MAX_HIGHLIGHTS
    assert f">{30 - len(named)} others<" in drawn.svg
    assert "the others are grey" in drawn.caption


@pytest.mark.parametrize("number", [60, 61])
def test_long_figures_are_drawn_once_and_scroll_on_a_narrow_screen(
    tmp_path: Path, number: int
) -> None:
    levels = [f"m{index}" for index in range(number)]
    results = StudyBuilder(tmp_path, factors={"masker": levels}, seeds=(0,)).results()
    drawn = draw_scores(results, build_variant_table(results))
    assert drawn is not None
    assert (drawn.narrow_svg is None) == (number > 60)
    kinds = re.findall(r'<svg class="(\w+)"', inline_svg(drawn))
    assert kinds == (["both"] if number > 60 else ["wide", "narrow"])


def test_a_pareto_front_needs_three_variants_and_different_costs(builder: StudyBuilder) -> None:
    for levels, factor, is_drawn in ((3, 1.1, True), (2, 1.1, False), (3, 1.0, False)):
        study = replace(builder, root=builder.root / f"{levels} {factor}")
        study.factors = {"masker": ["random", "block", "curriculum"][:levels]}
        results = study.results()
        rows = [{"flops": 1e12 * factor**number} for number in range(levels)]
        cost = replace(build_cost_table(results), rows=tuple(rows))
        assert (draw_cost(results, build_variant_table(results), cost) is not None) is is_drawn


def test_variants_of_equal_cost_do_not_overlap() -> None:
    places = _spread_equal_costs([1.0, 2.0, 1.0, 1.001])
    assert len(set(places)) == 4
    assert places[1] == 2.0
    assert all(abs(place - 1.0) < 0.05 for place in (places[0], places[2], places[3]))


def test_an_interval_that_ends_at_zero_is_inside_the_axis() -> None:
    axes = Figure().subplots()
    _set_score_limits(axes, [{"score": 10.0, "score_low": 0.0, "score_high": 20.0}])
    low, high = axes.get_ylim()
    assert low < 0.0
    assert high > 20.0
