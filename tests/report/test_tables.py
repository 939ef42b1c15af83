"""Every format of a table has the same numbers."""

import csv
import io
from dataclasses import asdict, replace

import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from ablate.report.pages import sentences, tables
from ablate.report.pages.cost import build_cost_table
from ablate.report.pages.latex import write_latex_table
from ablate.report.pages.table import (
    MINUS,
    Column,
    Table,
    format_amount,
    format_interval,
    format_number,
    format_p,
    text_cell,
)
from ablate.report.results import read_results
from ablate.report.stats.verdicts import compute_verdicts
from tests.plans import change_facts, change_trials
from tests.report.conftest import POOLINGS, TASKS, StudyBuilder
from tests.run_folders import COST

TABLE = Table(
    name="example",
    title="Example",
    caption="A caption with 5 % & more.",
    columns=(
        Column(head="masker_name", format=text_cell("masker"), text=True),
        Column(head="score", format=lambda row: format_number(row["score"], signed=True)),
    ),
    rows=({"masker": "a|b", "score": -1.25}, {"masker": None, "score": None}),
)


@pytest.mark.parametrize(
    ("value", "text"),
    [(-4.25, f"{MINUS}4.2"), (4.26, "4.3"), (-0.01, "0.0"), (None, "-"), (0.0, "0.0")],
)
def test_a_number_has_a_true_minus_and_zero_no_sign(value: float | None, text: str) -> None:
    assert format_number(value) == text


def test_a_signed_number_has_a_plus() -> None:
    assert (format_number(4.26, signed=True), format_number(0.01, signed=True)) == ("+4.3", "0.0")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (600, "600"),
        (8.53, "8.53"),
        (14.24, "14.2"),
        (999.7, "1.00k"),
        (1500, "1.50k"),
        (24_000, "24.0k"),
        (999_600, "1.00M"),
        (3.1e12, "3.10T"),
        (None, "-"),
    ],
)
def test_an_amount_has_three_digits(value: float | None, text: str) -> None:
    assert format_amount(value) == text


def test_a_tiny_p_is_not_zero() -> None:
    assert (format_p(0.0), format_p(0.0123), format_p(None)) == ("<0.001", "0.012", "-")


def test_a_p_shows_on_which_side_of_a_level_it_is() -> None:
    assert [format_p(p) for p in (0.0501, 0.0499, 0.05, 0.0532)] == [
        "0.0501",
        "0.0499",
        "0.050",
        "0.053",
    ]
    assert [format_p(p) for p in (0.05004, 0.05000004, 0.0999999)] == [
        "0.05004",
        ">0.050",
        "<0.100",
    ]


def test_an_interval_with_a_missing_end_is_a_dash() -> None:
    assert (format_interval(1.0, None), format_interval(-1.0, 2.0)) == ("-", f"[{MINUS}1.0, 2.0]")


def test_markdown_escapes_bars() -> None:
    assert TABLE.to_markdown().splitlines() == [
        "| masker_name | score |",
        "| :--- | ---: |",
        f"| a\\|b | {MINUS}1.2 |",
        "| - | - |",
    ]


def test_csv_has_unrounded_values() -> None:
    rows = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
    assert rows == [{"masker": "a|b", "score": "-1.25"}, {"masker": "", "score": ""}]


def test_latex_has_booktabs_and_escaped_text() -> None:
    text = write_latex_table(TABLE)
    assert r"\toprule" in text
    assert r"masker\_name" in text
    assert r"5 \% \& more" in text
    assert "$-$1.2" in text


def test_the_terminal_shows_brief_columns_only() -> None:
    columns = (TABLE.columns[0], Column(head="long", format=text_cell("score"), brief=False))
    table = Table(name="t", title="T", caption="", columns=columns, rows=TABLE.rows)
    console = rich.console.Console(file=io.StringIO(), width=80, record=True)
    console.print(table.to_rich(80))
    assert "masker_name" in console.export_text()
    assert "long" not in [str(column.header) for column in table.to_rich(80).columns]


def test_markdown_can_be_limited_to_brief_columns() -> None:
    columns = (TABLE.columns[0], Column(head="long", format=text_cell("score"), brief=False))
    table = Table(name="t", title="T", caption="", columns=columns, rows=TABLE.rows)
    assert not table.has_only_brief_columns
    assert "long" in table.to_markdown()
    assert "long" not in table.to_markdown(brief=True)


WORDS = st.text("abcdefgh_", min_size=1, max_size=14)


@given(
    names=st.lists(st.lists(WORDS, min_size=1, max_size=5).map(" ".join), min_size=1, max_size=4),
    width=st.integers(30, 160),
)
def test_names_are_complete_in_a_terminal_of_any_width(names: list[str], width: int) -> None:
    rows = tuple({"one": name, "other": name[::-1], "score": 12.5} for name in names)
    numbers = [Column(head=f"{n} % interval", format=text_cell("score")) for n in range(5)]
    words = [Column(head=name, format=text_cell(name), text=True) for name in ("one", "other")]
    table = Table(name="t", title="T", caption="", columns=(*words, *numbers), rows=rows)
    console = rich.console.Console(file=io.StringIO(), width=width, record=True)
    console.print(table.to_rich(width))
    text = console.export_text()
    longest = max(len(word) for name in names for word in name.split())
    if 2 * longest + len("0 % interval") + 8 <= width:
        assert {word for name in names for word in name.split()} <= set(text.split())
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    assert "0 % interval" in text


def test_brackets_in_a_name_are_printed() -> None:
    row = {"masker": "[bold]x[/bold]", "score": 1.0}
    columns = (*TABLE.columns, Column(head="[red]", format=text_cell("score")))
    table = Table(name="t", title="T", caption="", columns=columns, rows=(row,))
    console = rich.console.Console(file=io.StringIO(), width=80, record=True)
    console.print(table.to_rich(80))
    text = console.export_text()
    assert "[bold]x[/bold]" in text
    assert "[red]" in text


def test_failed_and_collapsed_trials_are_counted_by_variant(builder: StudyBuilder) -> None:
    plan = builder.build()
    builder.fail(builder.fingerprint(0, masker="random", patchifier="squares"))
    builder.edit(builder.fingerprint(1, masker="random", patchifier="squares"), collapsed=True)
    row = tables.build_variant_table(read_results(plan, builder.runs)).rows[0]
    assert (row["n"], row["planned"], row["failed"], row["collapsed"]) == (2, 3, 1, 1)


def test_shares_are_the_realised_ones_or_the_planned_ones_before_a_run(
    builder: StudyBuilder,
) -> None:
    plan = builder.build()
    first, *others = plan.trials
    plan = replace(plan, trials=(change_facts(first, context=0.99), *others))
    assert tables.build_variant_table(read_results(plan, builder.runs)).rows[0][
        "context"
    ] == pytest.approx(0.40)
    unrun = tables.build_variant_table(read_results(plan, builder.root / "nowhere")).rows[0]
    assert unrun["context"] == pytest.approx((0.99 + 0.4 + 0.4) / 3)


def test_every_probe_row_has_both_references(builder: StudyBuilder) -> None:
    builder.noise = 0.0
    rows = tables.build_probe_table(builder.results()).rows
    assert len(rows) == 6 * 2 * len(POOLINGS) * len(TASKS)
    gains = [row["trained_test"] - row["random_init_test"] for row in rows]
    assert gains == pytest.approx([10.0] * len(rows))
    assert all(row["mel_statistics_test"] is not None for row in rows)
    assert (rows[0]["probe"], rows[0]["pooling"]) == ("knn", "concat_freq")


def test_a_reference_run_shared_by_seeds_counts_once(builder: StudyBuilder) -> None:
    plan = builder.build()
    shared = plan.trials[0].statistics
    plan = change_trials(plan, lambda trial: replace(trial, statistics=shared))
    row = tables.build_probe_table(read_results(plan, builder.runs)).rows[0]
    assert row["mel_statistics_test"] is not None
    assert row["mel_statistics_test_sd"] is None


def test_the_cost_is_a_mean_over_the_runs_that_recorded_one(builder: StudyBuilder) -> None:
    plan = builder.build()
    builder.edit(
        builder.fingerprint(0, masker="random", patchifier="squares"),
        cost={**asdict(COST), "steps": 700},
    )
    row = build_cost_table(read_results(plan, builder.runs)).rows[0]
    assert row["steps"] == pytest.approx((700 + 1500 + 1500) / 3)
    assert row["encoder_parameters"] == 102_400


def test_the_cost_names_devices_and_sums_their_hours_over_processes(builder: StudyBuilder) -> None:
    plan = builder.build()
    for seed, facts in enumerate(
        (
            {"device": "cuda:0", "device_name": "NVIDIA H200", "ranks": 4},
            {"device": "cuda:1", "device_name": "NVIDIA H200"},
            {"device": "cpu"},
        )
    ):
        cost = {"cost": {**asdict(COST), "seconds": 1800.0}}
        builder.edit(
            builder.fingerprint(seed, masker="random", patchifier="squares"), **facts, **cost
        )
    row = build_cost_table(read_results(plan, builder.runs)).rows[0]
    assert row["device"] == "NVIDIA H200 and CPU"
    assert row["device_hours"] == pytest.approx(0.5 * (4 + 1 + 1))


def test_failures_are_listed_with_their_reasons(builder: StudyBuilder) -> None:
    plan = builder.build()
    builder.fail(builder.fingerprint(0, masker="random", patchifier="squares"), "oom: 12 GB")
    builder.edit(builder.fingerprint(1, masker="random", patchifier="squares"), collapsed=True)
    rows = tables.build_failure_table(read_results(plan, builder.runs)).rows
    assert [(row["state"], row["reason"]) for row in rows] == [
        ("failed", "oom: 12 GB"),
        ("collapsed", None),
    ]


def test_learning_contrasts_have_their_own_table(builder: StudyBuilder) -> None:
    results = builder.results()
    verdicts = compute_verdicts(results)
    contrasts, learning, untrained = (
        sentences.build_contrast_table(verdicts),
        sentences.build_learning_table(verdicts),
        sentences.build_untrained_table(verdicts),
    )
    assert len(contrasts.rows) + len(learning.rows) + len(untrained.rows) == len(verdicts)
    assert {row["family"] for row in learning.rows} == {"learning"}
    assert {row["family"] for row in untrained.rows} == {"untrained"}


def test_each_pooled_and_each_learning_contrast_has_a_sentence(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(builder.results())
    words = [sentence.word for sentence in sentences.write_sentences(verdicts)]
    expected = [v.word.split()[0] for v in verdicts if v.contrast.family != "within"]
    assert words == expected


def test_a_sentence_has_the_direction_and_the_size(builder: StudyBuilder) -> None:
    builder.noise = 0.01
    builder.factors = {"masker": ["random", "block"]}
    builder.levels_score = lambda levels: 40.0 if levels["masker"] == "random" else 30.0
    sentence = sentences.write_sentences(compute_verdicts(builder.results()))[0]
    assert sentence.claim == "masker: block is worse than random by 10.0 points"


def test_the_sentence_of_an_interaction_lists_the_combinations(builder: StudyBuilder) -> None:
    builder.noise = 0.01
    builder.levels_score = lambda levels: (
        40.0 - 10.0 * (levels == {"masker": "block", "patchifier": "strips"})
    )
    claim = sentences.write_sentences(compute_verdicts(builder.results()))[0].claim
    assert claim.startswith("masker: block against random differs by patchifier: ")
    assert f"worse with strips ({MINUS}10.0)" in claim


def test_an_undecided_sentence_has_the_seeds_of_a_new_study_and_no_further_ones(
    builder: StudyBuilder,
) -> None:
    builder.noise, builder.factors = 4.0, {"masker": ["random", "block"]}
    sentence = sentences.write_sentences(compute_verdicts(builder.results()))[0]
    assert sentence.word == "undecided"
    assert "; a new study would need " in sentence.claim
    assert "fresh seeds" in sentence.claim
    assert "more seed" not in sentence.claim
