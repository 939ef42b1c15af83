"""The error of differences over draws of clips, and the share of clips in their spread."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

import ablate
from ablate.report.report import write_report
from ablate.report.results import read_results
from ablate.report.stats.clip_noise import (
    compute_clip_share,
    estimate_clip_error,
    estimate_seed_variance,
)
from ablate.report.stats.contrast import Contrast
from ablate.report.stats.contrasts import list_contrasts
from ablate.runs.pending import PendingWork
from ablate.study import estimate
from tests.report.conftest import StudyBuilder
from tests.report.drawn_clips import write_drawn_clips

CLIPS = 120
LEVEL, AGAINST = ("block", "random")


def draw_hits(draw: np.random.Generator) -> NDArray[np.bool_]:
    """Draws clips of unequal difficulty, in groups of four that are hit or missed together."""
    difficulty = np.repeat(np.linspace(0.2, 0.9, CLIPS // 4), 4)
    return np.repeat(draw.random(CLIPS // 4), 4) < difficulty + 0.02 * draw.standard_normal()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> StudyBuilder:
    """A report on runs whose predictions were kept, in groups of four clips."""
    builder = StudyBuilder(tmp_path_factory.mktemp("study"))
    builder.factors = {"masker": [AGAINST, LEVEL]}
    builder.random_init_factors = ()
    plan = builder.build()
    write_drawn_clips(builder.runs, draw_hits, clips_per_group=4)
    write_report(plan, builder.runs, builder.report)
    plan.write(builder.report / "plan.json")
    return builder


def find_contrast(builder: StudyBuilder) -> Contrast:
    results = read_results(builder.build(), builder.runs)
    return next(c for c in list_contrasts(results) if c.level == LEVEL)


def average(drawn: pd.DataFrame, level: str) -> float:
    """Computes the score of a level from hits: the mean over tasks of the mean over clips."""
    return float(drawn[drawn["masker"] == level].groupby("task")["hit"].mean().mean())


def test_the_error_is_that_of_a_paired_bootstrap_over_groups(written: StudyBuilder) -> None:
    clips = ablate.results(written.report).predictions
    clips = clips[(clips["kind"] == "jepa") & (clips["part"] == "test")]
    clips = clips.assign(hit=100.0 * (clips["truth"] == clips["predicted"]))
    hits = clips.pivot_table("hit", ["task", "group"], ["masker"])
    gaps = (hits[LEVEL] - hits[AGAINST]).unstack()  # (tasks, groups): mean over seeds and clips
    draw = np.random.default_rng(0)
    values = [row[np.isfinite(row)] for row in gaps.to_numpy()]  # each task has groups of its own
    means = [
        np.mean([draw.choice(row, size=len(row)).mean() for row in values]) for _ in range(1000)
    ]
    error = estimate_clip_error(find_contrast(written))
    assert error is not None
    assert error.standard_error == pytest.approx(np.std(means), rel=0.1)
    assert average(clips, LEVEL) - average(clips, AGAINST) == pytest.approx(np.mean(values))


def test_clips_of_one_group_count_once(written: StudyBuilder, tmp_path: Path) -> None:
    separate = StudyBuilder(tmp_path, written.factors, random_init_factors=())
    separate.build()
    write_drawn_clips(separate.runs, draw_hits)  # the same clips, each by itself
    errors = [estimate_clip_error(find_contrast(builder)) for builder in (written, separate)]
    assert errors[0]
    assert errors[1]
    # four equal clips say as much as one
    assert errors[0].standard_error == pytest.approx(2 * errors[1].standard_error, rel=0.05)


def test_clips_of_one_recording_in_several_tasks_count_once(tmp_path: Path) -> None:
    errors, groups = [], []
    for shared in (False, True):
        builder = StudyBuilder(
            tmp_path / str(shared), {"masker": [AGAINST, LEVEL]}, random_init_factors=()
        )
        builder.build()
        write_drawn_clips(builder.runs, draw_hits, clips_per_group=4, shared_speakers=shared)
        error = estimate_clip_error(find_contrast(builder))
        variance = estimate_seed_variance(find_contrast(builder))
        assert error
        assert variance
        errors.append(error.standard_error)
        groups.append(variance.num_groups)
    assert groups == [90, 30]  # three tasks; the test groups only
    # three equal tasks say as much as one
    assert errors[1] == pytest.approx(3**0.5 * errors[0], rel=0.25)


@pytest.mark.parametrize("seed_spread", [0.0, 0.2])
def test_the_noise_of_clips_does_not_depend_on_the_spread_of_seeds(
    tmp_path: Path, seed_spread: float
) -> None:
    builder = StudyBuilder(tmp_path, {"masker": ["a", "b", "c"]}, tuple(range(4)), ())
    chances = np.linspace(0.3, 0.7, 300)

    def draw(random: np.random.Generator) -> NDArray[np.bool_]:
        return random.random(300) < chances + seed_spread * random.choice([-1, 1])

    plan = builder.build()
    write_drawn_clips(builder.runs, draw)
    contrasts = list_contrasts(read_results(plan, builder.runs))
    shifted = [np.clip(chances + sign * seed_spread, 0, 1) for sign in (-1, 1)]
    # the variance of a difference of two means over three tasks, in squared points
    expected = 1e4 * 2 / 3 * np.mean([chance * (1 - chance) for chance in shifted]) / 300
    for part in ("test", "valid"):
        variances = [estimate_seed_variance(c, part) for c in contrasts if c.family == "pooled"]
        assert np.mean([each.clips for each in variances if each]) == pytest.approx(
            expected, rel=0.15
        )
        share = compute_clip_share(variances)
        assert share is not None
        assert share.high == 1 if seed_spread == 0 else share.share < 0.1


def test_plan_and_report_name_what_more_clips_would_change(written: StudyBuilder) -> None:
    plan = written.build()
    spread = estimate.compute_spread(plan, written.runs)
    lines = estimate.format_estimate(plan, PendingWork(), written.runs)
    [line] = [each for each in lines if "validation clips" in each]
    assert "of its variance is noise of the 90 validation clips" in line  # 30 groups, 3 tasks
    assert f"On the 90 test clips the SD should be {spread:.2g} points, and on 360" in line
    text = (written.report / "report.md").read_text()
    assert "noise of the 90 test clips (or groups); with 4 times as many" in text
    contrasts = pd.read_csv(written.report / "tables" / "contrasts.csv")
    error = estimate_clip_error(find_contrast(written))
    assert error is not None
    assert contrasts["other_clips"][0] == pytest.approx(error.compute_half_width(0.05))


def test_a_run_without_predictions_leaves_the_error_unknown(builder: StudyBuilder) -> None:
    assert all(
        estimate_clip_error(contrast) is None for contrast in list_contrasts(builder.results())
    )


def test_confusion_and_scores_by_class_follow_from_the_predictions(written: StudyBuilder) -> None:
    results = ablate.results(written.report)
    keys = ["masker", "seed", "kind", "task", "probe", "pooling", "part"]
    clips = results.predictions
    first = {key: clips[key].iloc[0] for key in keys}

    def select(frame: pd.DataFrame) -> pd.DataFrame:
        return frame[(frame[keys] == pd.Series(first)).all(axis=1)]

    counts = pd.crosstab(select(clips)["truth"], select(clips)["predicted"])
    for row in select(results.confusion).itertuples():
        assert row.clips == counts.loc[row.truth, row.predicted]
    by_class = select(results.class_scores).set_index("class")
    assert by_class["support"].sum() == CLIPS
    for name in counts.index:
        assert by_class["recall"][name] == pytest.approx(
            100 * counts.loc[name, name] / counts.loc[name].sum()
        )
        assert by_class["precision"][name] == pytest.approx(
            100 * counts.loc[name, name] / counts[name].sum()
        )


def test_the_report_shows_classes_and_confusions(written: StudyBuilder) -> None:
    results = ablate.results(written.report)
    tables = {
        name: pd.read_csv(written.report / "tables" / f"{name}.csv")
        for name in ("classes", "confusions")
    }

    def select(frame: pd.DataFrame) -> pd.DataFrame:
        own = (frame["kind"] == "jepa") & (frame["part"] == "test") & (frame["probe"] == "knn")
        return frame[own & (frame["masker"] == LEVEL)]

    scores = select(results.class_scores).groupby(["task", "class"])[["support", "f1"]].mean()
    assert len(tables["classes"]) == len(scores)
    for row in tables["classes"].to_dict("records"):
        expected = scores.loc[(row["task"], row["class"])]
        assert row["support"] == expected["support"]
        assert row[f"f1 {LEVEL}"] == pytest.approx(expected["f1"])
    clips = select(results.confusion).groupby(["task", "truth", "predicted"])["clips"].sum()
    wrong = tables["confusions"]
    assert (wrong["truth"] != wrong["predicted"]).all()
    for row in wrong.to_dict("records"):
        of_class = clips.loc[row["task"], row["truth"]]
        expected = of_class.loc[row["predicted"]] / of_class.sum()
        assert row[f"share {LEVEL}"] == pytest.approx(expected)
    page = (written.report / "index.html").read_text()
    assert page.count('<figure class="scroll matrix"') == 3 * 2  # tasks, variants
    assert "<summary>Show confusions</summary>" in page


def test_a_page_without_predictions_has_no_classes(reported: StudyBuilder) -> None:
    page = (reported.report / "index.html").read_text()
    assert "<summary>Show scores by class" not in page
    assert "<summary>Show confusions" not in page
    assert 'class="scroll matrix"' not in page
