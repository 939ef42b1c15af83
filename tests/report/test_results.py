"""Run folders become trial results; missing scores stay missing."""

import json
import math
import shutil
from dataclasses import replace

import pytest

from ablate.report.results import TrialResult, read_results
from ablate.runs.store import read_scores
from tests.plans import COUNTS, change_trials, make_data
from tests.report.conftest import KNN, POOLINGS, STATISTICS_POOLINGS, TASKS, StudyBuilder


def trial_of(builder: StudyBuilder, seed: int, **levels: str) -> TrialResult:
    matching = [t for t in builder.results().trials if t.seed == seed and t.levels == levels]
    assert len(matching) == 1
    return matching[0]


def test_the_score_is_the_mean_over_tasks_of_the_test_split(builder: StudyBuilder) -> None:
    trial = trial_of(builder, 0, masker="random", patchifier="squares")
    scores = read_scores(builder.runs / str(trial.fingerprint))
    tests = [score.scores["concat_freq"].test for score in scores if score.settings == KNN]
    assert len(tests) == len(TASKS)
    assert trial.score == pytest.approx(sum(filter(None, tests)) / len(tests))


def test_a_trial_is_scored_by_the_probe_of_its_level(builder: StudyBuilder) -> None:
    plan = change_trials(
        builder.build(),
        lambda trial: replace(trial, probe="linear" if trial.levels["masker"] == "block" else None),
    )
    for trial in read_results(plan, builder.runs).trials:
        probe = "linear" if trial.levels["masker"] == "block" else "knn"
        own = [s.test for s in trial.run.scores if (s.probe, s.pooling) == (probe, "concat_freq")]
        assert trial.score == pytest.approx(sum(own) / len(TASKS))
        assert trial.probe_key == (probe, "concat_freq")


def test_the_gain_is_the_score_minus_that_at_random_init(builder: StudyBuilder) -> None:
    builder.noise = 0.0
    trial = trial_of(builder, 1, masker="block", patchifier="strips")
    assert trial.gain == pytest.approx(10.0)


def test_the_frame_has_a_row_for_each_trial_task_probe_and_pooling(builder: StudyBuilder) -> None:
    frame = builder.results().scores()
    trained = frame[frame["kind"] == "jepa"]
    assert len(trained) == 18 * len(TASKS) * 2 * len(POOLINGS)
    keys = ["masker", "patchifier", "seed", "task", "probe", "pooling"]
    assert not trained.duplicated(keys).any()
    statistics = frame[frame["kind"] == "mel_statistics"]
    assert set(statistics["pooling"]) == set(STATISTICS_POOLINGS)


def test_a_trial_that_has_not_run_is_a_row_with_a_state(builder: StudyBuilder) -> None:
    plan = builder.build()
    shutil.rmtree(builder.runs / builder.fingerprint(0, masker="random", patchifier="squares"))
    trial = read_results(plan, builder.runs).trials[0]
    assert (trial.state, trial.reason, trial.score) == ("missing", "not run yet", None)


def test_a_failed_trial_keeps_its_reason_and_no_score(builder: StudyBuilder) -> None:
    plan = builder.build()
    fingerprint = builder.fingerprint(0, masker="random", patchifier="squares")
    builder.edit(
        fingerprint, state="failed", reason="oom: 12 GB asked"
    )  # its probes still lie there
    results = read_results(plan, builder.runs)
    assert (results.trials[0].state, results.trials[0].reason) == ("failed", "oom: 12 GB asked")
    assert results.trials[0].score is None
    assert fingerprint not in set(results.scores()["fingerprint"])


def test_a_collapsed_trial_that_was_probed_keeps_its_score(builder: StudyBuilder) -> None:
    plan = builder.build()
    fingerprint = builder.fingerprint(0, masker="random", patchifier="squares")
    builder.edit(fingerprint, collapsed=True)
    trial = read_results(plan, builder.runs).trials[0]
    assert trial.collapsed
    assert trial.score is not None


@pytest.mark.parametrize("state", ["pruned", "failed"])
@pytest.mark.parametrize("collapsed", [False, True])
def test_a_trial_that_did_not_finish_enters_no_mean(
    builder: StudyBuilder, *, collapsed: bool, state: str
) -> None:
    plan = builder.build()
    fingerprint = builder.fingerprint(0, masker="random", patchifier="squares")
    builder.edit(fingerprint, state=state, reason="below the median", collapsed=collapsed)
    trial = read_results(plan, builder.runs).trials[0]
    assert (trial.state, trial.score, trial.gain) == (state, None, None)
    assert trial.failed == (state == "failed")


def test_a_trial_without_a_score_on_every_task_is_unscored(builder: StudyBuilder) -> None:
    plan = builder.build()
    fingerprint = builder.fingerprint(0, masker="random", patchifier="squares")
    shutil.rmtree(builder.runs / fingerprint / "probes" / "music")
    trial = read_results(plan, builder.runs).trials[0]
    assert (trial.state, trial.score) == ("unscored", None)
    assert trial.reason == "no knn.concat_freq score on music"


def test_scores_by_other_probe_settings_are_ignored(builder: StudyBuilder) -> None:
    plan = replace(builder.build(), probes={"knn": KNN | {"k": 11}})
    results = read_results(plan, builder.runs)
    assert {trial.state for trial in results.trials} == {"unscored"}
    assert results.scores().empty


def test_a_score_that_is_not_finite_is_missing(builder: StudyBuilder) -> None:
    plan = builder.build()
    folder = builder.runs / builder.fingerprint(0, masker="random", patchifier="squares")
    for path in folder.glob("probes/music/*.json"):
        result = json.loads(path.read_text())
        result["scores"]["concat_freq"]["test"] = math.nan
        path.write_text(json.dumps(result))
    assert read_results(plan, builder.runs).trials[0].state == "unscored"


def test_a_broken_file_is_named(builder: StudyBuilder) -> None:
    plan = builder.build()
    path = builder.runs / builder.fingerprint(0, masker="random", patchifier="squares") / "run.json"
    path.write_text("{")
    results = read_results(plan, builder.runs)
    assert [trial.state for trial in results.trials[:2]] == ["preempted", "done"]
    assert "run.json is not JSON" in str(results.trials[0].reason)


def test_a_factor_does_not_hide_a_column_of_the_data_frame(builder: StudyBuilder) -> None:
    builder.factors = {"task": ["one", "two"]}
    frame = builder.results().scores()
    assert set(frame["task"]) == set(TASKS)
    assert set(frame["factor task"]) == {"one", "two"}


def test_the_trial_data_frame_has_one_row_per_trial_with_its_cost(builder: StudyBuilder) -> None:
    frame = builder.results().frame()
    assert len(frame) == 18
    assert set(frame["steps"]) == {1500}


def test_a_trial_without_a_score_on_a_task_of_its_own_data_is_unscored(
    builder: StudyBuilder,
) -> None:
    plan = builder.build()
    tasks = [*TASKS]
    fewer = make_data(digest="fewer", tasks=dict.fromkeys(tasks[:2], COUNTS))
    plan = replace(plan, data=(*plan.data, fewer))
    lost = builder.fingerprint(0, masker="random", patchifier="squares")
    shutil.rmtree(builder.runs / lost / "probes" / tasks[2])
    trial = read_results(plan, builder.runs).trials[0]
    assert (trial.state, trial.score) == ("unscored", None)
    assert trial.reason == f"no knn.concat_freq score on {tasks[2]}"
