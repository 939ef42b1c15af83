"""The answer agrees with the verdicts."""

import re
from dataclasses import replace

import pytest

from ablate.report.pages.answer import write_answer
from ablate.report.pages.sentences import format_verdict, write_sentences
from ablate.report.pages.table import format_number
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.robustness import build_robustness_table
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.conftest import StudyBuilder


def worded(builder: StudyBuilder, *words: str) -> list[str]:
    """Returns the answer to a study of one factor whose levels have these words."""
    builder.factors = {"masker": ["random", *(f"m{number}" for number in range(len(words)))]}
    builder.levels_score = lambda levels: 40.0 + 3.0 * int(levels["masker"] != "random")
    builder.noise = 0.0
    verdicts = compute_verdicts(builder.results())
    pooled = [verdict for verdict in verdicts if verdict.contrast.family == "pooled"]
    return write_answer([replace(v, word=word) for v, word in zip(pooled, words, strict=True)])


def test_levels_with_the_same_verdict_share_a_clause(builder: StudyBuilder) -> None:
    assert worded(builder, "better", "undecided", "better") == [
        "masker: m0 and m2 are better than random by 3.0 points; m1 against random is undecided."
    ]


def test_a_difference_below_the_margin_is_never_called_better_without_saying_so(
    builder: StudyBuilder,
) -> None:
    builder.factors, builder.noise = {"masker": ["random", "m0"]}, 0.4
    builder.levels_score = lambda levels: 40.0 + 9.0 * (levels["masker"] == "m0")
    large = compute_verdicts(builder.results())[0]
    assert not large.is_below_margin
    builder.margin = (large.estimate.mean or 0.0) + 0.05  # too close for equivalence
    pooled = compute_verdicts(builder.results())[0]
    assert (pooled.word, pooled.is_below_margin) == ("better", True)
    assert write_answer([pooled])[0].endswith(", but by less than the margin.")
    assert ", but by less than the margin" in write_sentences([pooled])[0].claim
    assert format_verdict(pooled) == "better, but smaller than the margin"
    assert "margin" not in write_answer([large])[0]


def test_an_interaction_is_described_as_a_dependence(builder: StudyBuilder) -> None:
    text = worded(builder, "differs by patchifier", "equivalent")[0]
    assert text.startswith("masker: how m0 compares with random depends on ")
    assert text.endswith("; m1 and random are equivalent.")


def test_an_interaction_in_size_only_keeps_its_direction(builder: StudyBuilder) -> None:
    verdicts = compute_verdicts(builder.results())
    masker = [v for v in verdicts if v.contrast.factor == "masker"]
    level = masker[0].contrast.level
    words = {"pooled": "differs by patchifier", "within": "worse"}
    judged = [
        replace(v, word=words[v.contrast.family]) if v.contrast.level == level else v
        for v in masker
    ]
    within = [v for v in judged if (v.contrast.family, v.contrast.level) == ("within", level)]
    low, high = sorted(format_number(abs(v.estimate.mean or 0.0)) for v in within)
    [text] = write_answer(judged)
    assert f"{level} is worse than random with each patchifier, by {low} to {high} points" in text
    parted = [replace(v, word="equivalent") if v is within[0] else v for v in judged]
    assert f"how {level} compares with random depends on patchifier" in write_answer(parted)[0]


def test_a_gain_is_described_as_what_training_adds_followed_by_the_scores(
    builder: StudyBuilder,
) -> None:
    builder.levels_score = lambda levels: 40.0 + 9.0 * (levels["patchifier"] == "strips")
    results = builder.results()
    rows = build_robustness_table(results).rows
    masker, patchifier, scores, *_ = write_answer(compute_verdicts(results), rows)
    assert "training adds" not in masker
    assert re.fullmatch(
        r"patchifier: training adds \d+\.\d points more to strips than to squares\.", patchifier
    )
    [row] = [row for row in rows if not row["judged"]]
    size, own = format_number(abs(row["knn.concat_freq"])), "knn.concat_freq"
    assert scores.startswith(
        "patchifier, without regard to untrained encoders: strips scores "
        f"{size} points higher than squares (by {own}; by all probes and poolings, "
    )


def test_many_levels_are_counted(builder: StudyBuilder) -> None:
    words = ["undecided"] * 11
    assert worded(builder, *words) == [
        "masker: m0, m1, m2, m3 and 7 more against random are undecided."
    ]


@pytest.mark.parametrize("level", [29.0, 30.0])
def test_equivalence_without_learning_is_qualified(builder: StudyBuilder, level: float) -> None:
    builder.factors, builder.levels_score = {"masker": ["random", "block"]}, lambda levels: level
    builder.noise = 0.02
    first, second, *_ = write_answer(compute_verdicts(builder.results()))
    assert first.startswith(
        "There is no evidence of learning: the trained baseline is not shown to be better than its"
    )
    assert second == "masker: block and random are equivalent, as untrained encoders are."


def test_missing_learning_is_reported_first(builder: StudyBuilder) -> None:
    builder.levels_score = lambda levels: 40.0 if levels["patchifier"] == "strips" else 30.0
    lines = write_answer(compute_verdicts(builder.results()))
    assert lines[0] == (
        "With squares the trained baseline is not shown to be better than its random init."
    )
    assert [line.split(":")[0].split()[0] for line in lines[1:3]] == ["masker", "patchifier"]


@pytest.mark.parametrize(
    ("factors", "words"), [({}, "one variant"), ({"masker": ["a", "b"]}, "No")]
)
def test_a_study_without_comparisons_has_a_plain_answer(
    builder: StudyBuilder, factors: dict[str, list[str]], words: str
) -> None:
    builder.factors, builder.random_init_factors = factors, ()
    results = builder.results()
    nothing = replace(results, trials=tuple(replace(t, score=None) for t in results.trials))
    verdicts: tuple[Verdict, ...] = compute_verdicts(nothing)
    assert words in write_answer(verdicts)[0]


def test_the_answer_ends_with_the_strongest_baselines_without_training(
    builder: StudyBuilder,
) -> None:
    builder.levels_score = lambda levels: 40.0 if levels["masker"] == "random" else 20.0
    verdicts = compute_verdicts(builder.results())
    untrained = [v for v in verdicts if v.contrast.family == "untrained"]
    assert {v.word for v in untrained} >= {"better", "worse"}
    lines = [line for line in write_answer(verdicts) if line.startswith("The strongest baseline")]
    assert len(lines) == len({v.contrast.against for v in untrained})
    for verdict in untrained:
        [line] = [line for line in lines if verdict.contrast.against in line]
        [clause] = [c for c in line.split(";") if verdict.contrast.level.replace(", ", " + ") in c]
        assert verdict.word in clause
