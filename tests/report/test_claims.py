"""A verdict by gain claims what training adds, and names a final score that contradicts it."""

from dataclasses import replace
from pathlib import Path

import pytest

from ablate.report.pages.sentences import build_contrast_table, write_sentences
from ablate.report.pages.table import MINUS
from ablate.report.results import Results
from ablate.report.stats.decisions import Verdict
from ablate.report.stats.verdicts import compute_verdicts
from tests.report.conftest import StudyBuilder

NOISE = (0.1, -0.2, 0.1, 0.0)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A study of two maskers and two patchifiers; tests set the scores."""
    factors = {"masker": ["random", "block"], "patchifier": ["strips", "squares"]}
    return StudyBuilder(tmp_path_factory.mktemp("study"), factors, tuple(range(4))).results()


def decide(study: Results, *, gain: float, score: float, of_block: float = 0.0) -> list[Verdict]:
    """Decides a study whose squares have these differences to strips; gains vary by masker."""
    trials = []
    for trial in study.trials:
        is_square, shift = trial.levels["patchifier"] == "squares", NOISE[trial.seed]
        # without a spread there is no test of the interaction
        extra = of_block * (trial.levels["masker"] == "block") * (0.985 + 0.01 * trial.seed)
        final = 50 + trial.seed + (score + extra + shift) * is_square
        start = 30 + trial.seed + (score - gain) * is_square
        trials.append(replace(trial, score=final, random_init_score=start))
    verdicts = compute_verdicts(replace(study, trials=tuple(trials)))
    return [v for v in verdicts if v.contrast.factor == "patchifier"]


def write(verdicts: list[Verdict]) -> str:
    [sentence] = write_sentences(verdicts)
    return sentence.claim


def test_a_gain_is_never_called_better_but_what_training_adds(study: Results) -> None:
    assert write(decide(study, gain=7.0, score=9.0)) == (
        "patchifier: training adds 7.0 points more to squares than to strips"
    )
    assert write(decide(study, gain=-7.0, score=-9.0)) == (
        "patchifier: training adds 7.0 points less to squares than to strips"
    )
    equal = write(decide(study, gain=0.0, score=0.3))
    assert equal == "patchifier: training adds as much to squares as to strips"
    undecided = replace(decide(study, gain=7.0, score=9.0)[0], word="undecided")
    assert "whether training adds more to squares or to strips is undecided" in write([undecided])


@pytest.mark.parametrize(
    ("gain", "score", "times"),  # the pooled contrast, and one within each masker
    [(7.0, -12.0, 3), (-7.0, 12.0, 3), (7.0, 12.0, 0), (0.0, 9.0, 3), (0.0, 1.0, 0)],
)
def test_a_final_score_that_points_the_other_way_is_part_of_the_claim(
    study: Results, gain: float, score: float, times: int
) -> None:
    verdicts = decide(study, gain=gain, score=score)
    side = "lower" if score < 0 else "higher"
    stated = f"but the final score of squares is {abs(score):.1f} points {side} ["
    assert (stated in write(verdicts)) == (times > 0)
    noted = [row for row in build_contrast_table(verdicts).rows if "by score" in row["notes"]]
    assert len(noted) == times


def test_a_gain_that_depends_on_another_factor_names_both_per_combination(study: Results) -> None:
    claim = write(decide(study, gain=7.0, score=-12.0, of_block=-20.0))
    assert claim.startswith(
        "patchifier: what training adds to squares and to strips differs by masker: "
        "more with random (+7.0; final score "
    )
    assert f"less with block ({MINUS}13.0)" in claim


def test_a_confirmation_by_gain_claims_what_training_adds(study: Results) -> None:
    pooled = decide(study, gain=7.0, score=9.0)[0]
    confirmed = replace(pooled, contrast=replace(pooled.contrast, family="confirmation"))
    assert write([confirmed]).startswith("On fresh seeds, training adds 7.0 points more to squares")


def test_no_sentence_of_a_gain_in_a_report_calls_a_level_better(tmp_path: Path) -> None:
    builder = StudyBuilder(tmp_path)
    builder.levels_score = lambda levels: 40.0 + 9.0 * (levels["patchifier"] == "strips")
    verdicts = compute_verdicts(builder.results())
    lines = [s for s in map(str, write_sentences(verdicts)) if "measured by gain" in s]
    assert lines
    assert not [line for line in lines if "is better than" in line or "is worse than" in line]
