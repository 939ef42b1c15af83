"""Studies with a sweep, run with a stand-in for the worker."""

import json
import socket
import time
from pathlib import Path

import optuna
import pytest

from ablate.core.records.plan import StudyPlan
from ablate.study import run as study
from ablate.sweep import patience
from ablate.sweep.storage import StorageError, close_storage, open_storage
from tests.executors.stand_in import STAND_IN

STUDY = """\
# Does it matter once it is tuned?
study: tuned
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
  optimizer: {rate: 0.1}
factors:
  masker:
    good: {type: Good}
    other: {type: Other}
sweep:
  per: masker
  trials: 4
  sampler: random
  space:
    optimizer.rate: {low: 0.1, high: 10.0, log: true}
  only:
    other: {masker.ratio: {low: 0.2, high: 0.8}}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""


@pytest.fixture(autouse=True)
def _study(workdir: Path) -> None:
    Path("study.yaml").write_text(STUDY)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory in which the sweep is finished."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("study.yaml").write_text(STUDY)
        assert run() == study.DONE
    return folder


@pytest.fixture
def finished_sweep(once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same directory, for tests that do not change its runs."""
    monkeypatch.chdir(once)
    return once


def run(*overrides: str) -> int:
    named = (*overrides, "study=tuned")
    return study.run_study(Path("study.yaml"), named, workers=2, command=STAND_IN)


def read_settings() -> list[dict[str, object]]:
    files = Path("runs").glob("*/config.json")
    configs = [json.loads(file.read_text()) for file in files]
    return [config["settings"] for config in configs if config["kind"] == "jepa"]


def read_plan() -> StudyPlan:
    return StudyPlan.read(Path("reports/tuned/plan.json"))


def test_every_level_is_tuned_with_as_many_points(finished_sweep: Path) -> None:
    assert [entry.points for entry in read_plan().sweep] == [4, 4]
    tuned_on = [settings for settings in read_settings() if settings["seed"] == 1000]
    assert sum(settings["masker"]["type"] == "Good" for settings in tuned_on) == 4
    assert sum(settings["masker"]["type"] == "Other" for settings in tuned_on) == 4


def test_the_best_point_by_validation_is_trained_on_fresh_seeds_only(finished_sweep: Path) -> None:
    tuned_on = [settings for settings in read_settings() if settings["seed"] == 1000]
    for label, kind in (("good", "Good"), ("other", "Other")):
        rates = [s["optimizer"]["rate"] for s in tuned_on if s["masker"]["type"] == kind]
        verdict = [t for t in read_plan().trials if t.levels["masker"] == label]
        # the stand-in's validation score grows with the rate
        assert {t.settings["optimizer"]["rate"] for t in verdict} == {max(rates)}
        assert [t.seed for t in verdict] == [0, 1]


def test_a_setting_of_one_level_is_tuned_for_that_level_only(finished_sweep: Path) -> None:
    ratios = {"Good": set(), "Other": set()}
    for settings in read_settings():
        ratios[settings["masker"]["type"]].add(settings["masker"]["ratio"])
    assert ratios["Good"] == {0.5}
    assert len(ratios["Other"]) == 4


def test_zipped_factors_are_tuned_together(workdir: Path) -> None:
    text = STUDY.replace(
        "    other: {type: Other}\n", "    other: {type: Other}\n  budget.steps: [1, 2]\n"
    )
    text = text.replace("{rate: 0.1}\n", "{rate: 0.1}\n  budget: {steps: 1}\n")
    text = text.replace("per: masker", "per: [masker, budget.steps]")
    Path("study.yaml").write_text(f"{text}zip: [[masker, budget.steps]]\n")
    assert run() == study.DONE
    plan = read_plan()
    assert plan.factors == {"masker + budget.steps": ("good + 1", "other + 2")}
    assert [entry.levels for entry in plan.sweep] == [
        {"masker + budget.steps": label} for label in ("good + 1", "other + 2")
    ]
    settings = {(t.settings["masker"]["type"], t.settings["budget"]["steps"]) for t in plan.trials}
    assert settings == {("Good", 1), ("Other", 2)}
    assert len({t.settings["masker"]["ratio"] for t in plan.trials}) == 2  # tuned for `other` only


def test_a_chosen_point_keeps_to_the_constraints(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep.constraints={cost.flops: 2.0e12}") == study.DONE
    tuned_on = [settings for settings in read_settings() if settings["seed"] == 1000]
    rates = [s["optimizer"]["rate"] for s in tuned_on if s["masker"]["type"] == "Good"]
    assert max(rates) > 2  # the stand-in's score and cost grow with the rate
    best = {
        t.settings["optimizer"]["rate"] for t in read_plan().trials if t.levels["masker"] == "good"
    }
    assert best == {max(rate for rate in rates if rate <= 2)}
    assert run("sweep.constraints={cost.flops: 1}") == study.FAILED
    assert "no point of the sweep of good keeps to `sweep.constraints`" in capsys.readouterr().err


def test_a_sweep_without_factors_compares_tuned_settings_with_the_baseline(workdir: Path) -> None:
    text = STUDY.replace("  per: masker\n", "")
    start, end = text.index("factors:"), text.index("sweep:")
    text = text[:start] + text[end:]
    start, end = text.index("  only:"), text.index("seeds: 2")
    Path("study.yaml").write_text(text[:start] + text[end:])
    assert run() == study.DONE
    assert read_plan().factors == {"settings": ("baseline", "tuned")}
    assert len(read_plan().trials) == 4


PRUNED = ("sweep.pruner=median", "sweep.trials=12", "budget.steps=100")


def test_a_poor_point_is_pruned_at_a_rung_and_counts_as_evaluated(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*PRUNED) == study.DONE
    for entry in read_plan().sweep:
        assert entry.points == 12
        assert 1 <= entry.pruned <= 8  # the median needs four points
        [correlation, points] = entry.fidelity["25"]
        assert points == 12 - entry.pruned
        assert correlation == pytest.approx(
            1
        )  # the stand-in gives the same score at a rung and at the end
    output = capsys.readouterr().out
    assert "at 50 % of the steps" in output
    assert "pruned at 25 % of the steps" in "".join(
        record.read_text() for record in Path("runs").glob("*/run.json")
    )


def test_pruned_points_stay_pruned_in_a_rebuilt_journal(workdir: Path) -> None:
    run(*PRUNED)
    before, runs = read_plan().sweep, sorted(Path("runs").glob("*/trainings"))
    trained = [path.read_text() for path in runs]
    Path("reports/tuned/optuna.journal").unlink()
    assert run(*PRUNED) == study.DONE
    assert read_plan().sweep == before
    assert [path.read_text() for path in runs] == trained


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_halving_pruners_accept_matching_rungs(workdir: Path, pruner: str) -> None:
    override = f"sweep.pruner={pruner}"
    assert run(override, "sweep.rungs=[0.1, 0.25, 0.5]", "budget.steps=100") == study.DONE


def test_the_wilcoxon_pruner_judges_after_each_seed(workdir: Path) -> None:
    text = STUDY.replace("seeds: 2\n", "seeds: [1, 2]\n")
    Path("study.yaml").write_text(text)
    assert run("sweep.pruner=wilcoxon", "sweep.seeds=6", "sweep.trials=8") == study.DONE
    assert sum(entry.pruned for entry in read_plan().sweep) >= 1


def test_a_rebuilt_journal_has_the_scores_of_the_wilcoxon_pruner(workdir: Path) -> None:
    Path("study.yaml").write_text(STUDY.replace("seeds: 2\n", "seeds: [1, 2]\n"))
    options = ("sweep.pruner=wilcoxon", "sweep.seeds=4", "sweep.trials=2")
    assert run(*options) == study.DONE
    before = read_pruner_scores()
    assert len(before) == 4
    assert all(before.values())
    Path("reports/tuned/optuna.journal").unlink()
    assert run(*options) == study.DONE
    assert read_pruner_scores() == before
    assert all(entry.fidelity == {} for entry in read_plan().sweep)


def read_pruner_scores() -> dict[str, dict[int, float]]:
    """Returns the intermediate scores of each point in the journal."""
    storage = open_storage(None, Path("reports/tuned/optuna.journal"))
    names = optuna.get_all_study_names(storage)
    studies = [optuna.load_study(study_name=name, storage=storage) for name in names]
    trials = [trial for each in studies for trial in each.get_trials()]
    close_storage(storage)
    return {json.dumps(trial.params): trial.intermediate_values for trial in trials}


def test_running_again_trains_nothing(
    finished_sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path("runs").glob("*"))
    assert run() == study.DONE
    assert "0 trials to run, 4 done, 0 failed, of 4" in capsys.readouterr().out
    assert sorted(Path("runs").glob("*")) == before


def test_an_invalid_point_is_reported_with_its_reason(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep.only.other={masker.ratio: {low: 0.2, high: 1.8}}") == study.WRONG
    output = capsys.readouterr().err
    assert "`masker.ratio`: must be at most 1 (in `sweep.space.masker.ratio`)" in output


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("sweep.sampler=tpee", "unknown value `tpee` of `sweep.sampler` (did you mean `tpe`?)"),
        (
            "sweep.pruner=mediann",
            "unknown value `mediann` of `sweep.pruner` (did you mean `median`?)",
        ),
        ("sweep.pruner=wilcoxon", "pruner `wilcoxon` compares seeds, and 1 is too few"),
        (
            "sweep={pruner: asha, rungs: [0.25, 0.5, 0.75], space: {optimizer.rate: [1, 2]}}",
            "so never at 0.75; leave that out, or begin lower, as in [0.25, 0.5]",
        ),
        (
            "sweep={pruner: hyperband, rungs: [0.5, 0.75], space: {optimizer.rate: [1, 2]}}",
            "pruner `hyperband` judges at the first rung and wherever its share has doubled",
        ),
        ("sweep.rungs=[0.5, 0.25]", "`sweep.rungs` must list shares of the steps, rising"),
        ("sweep.space={optimizr.rate: [1, 2]}", "`optimizr.rate` is not a setting of a trial"),
        ("sweep.space={masker: {a: {type: A}}}", "would replace the levels of factor `masker`"),
        ("sweep.space={budget.steps: {low: 2, high: 1}}", "has low 2 and high 1"),
        ("sweep.per=maskr", "names no factor of the study: `maskr` (did you mean `masker`?)"),
        ("sweep.seeds=[1, 7]", "seeds 1 are in `sweep.seeds` and in `seeds`"),
        ("sweep.trials=0", "`sweep.trials` must be a count from 1 up; got 0"),
        ("sweep.minutes=-1", "`sweep.minutes` must be more than 0; got -1"),
        ("sweep.objectives=[cost.flops]", "begins with `score`"),
        ("sweep.constraints={cost.flop: 1}", "`cost.flop` of `sweep.constraints` (did you mean"),
        ("sweep.storage=here", "must be `journal`, or a URL such as"),
        ("sweep.trails=3", "unknown key `trails` of `sweep` (did you mean `trials`?)"),
        ("sweep.only={othr: {masker.ratio: [0.1, 0.2]}}", "is not a level of any factor (did you"),
        (
            "sweep.only={good: {masker: {a: {type: A}}}}",
            "`sweep.only.good.masker` would replace the levels of factor `masker`",
        ),
        (
            "factors.patchifier={squares: {type: Squares}, other: {type: Flat}}",
            "`sweep.only.other` is a level of `masker` and of `patchifier`",
        ),
    ],
)
def test_a_mistake_in_the_section_is_reported_before_anything_runs(
    workdir: Path, capsys: pytest.CaptureFixture[str], override: str, message: str
) -> None:
    assert run(override) == study.WRONG
    assert message in capsys.readouterr().err
    assert [path.name for path in workdir.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    "url",
    [
        *(f"postgresql://{login}@host/db" for login in ("me:S3cret", "me:S3c@ret", "me:$S3cret")),
        "postgresql://me:${A}S3cret@host/db",
        "postgresql://host/db?user=me&password=S3cret",
        "postgresql://host/db?sslpassw%6Frd=S3cret",
        "postgresql://me%3AS3cret@host/db",
    ],
)
def test_a_password_in_the_storage_is_an_error_that_does_not_repeat_it(
    workdir: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert run(f"sweep.storage={url}") == study.WRONG
    output = "".join(capsys.readouterr())
    assert "PGPASSWORD" in output
    assert "S3c" not in output
    assert [path.name for path in workdir.iterdir()] == ["study.yaml"]


def test_an_environment_variable_in_the_storage_is_expanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = tmp_path / "reports" / "journal"
    with pytest.raises(StorageError, match=r"needs \$SWEEP_DB, which is not set"):
        open_storage(f"sqlite:///{tmp_path}/${{SWEEP_DB}}.db", journal)
    monkeypatch.setenv("SWEEP_DB", "points")
    close_storage(open_storage(f"sqlite:///{tmp_path}/${{SWEEP_DB}}.db", journal))
    assert (tmp_path / "points.db").exists()


def test_an_unreachable_storage_is_reported_in_time(
    finished_sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psycopg")
    before = sorted(Path("runs").glob("*"))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts connections and never answers
        port = silent.getsockname()[1]
        started = time.monotonic()
        url = f"postgresql+psycopg://me:${{DB_PASSWORD}}@127.0.0.1:{port}/x"
        monkeypatch.setenv("DB_PASSWORD", "secret")
        monkeypatch.setattr(patience, "OPEN_SECONDS", 1.0)
        assert run(f"sweep.storage={url}") == study.FAILED
        # 5 s of them wait for the storage; the limit for one that was used before is 300 s
        assert time.monotonic() - started < 200
    output = capsys.readouterr().err
    assert f"storage postgresql+psycopg://127.0.0.1:{port}/x failed" in output
    assert "secret" not in output
    assert sorted(Path("runs").glob("*")) == before


def test_a_plan_describes_the_sweep_and_runs_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.plan_study(Path("study.yaml"), command=STAND_IN) == study.DONE
    assert "sweep of other: 4 points by random: optimizer.rate, masker.ratio" in (
        capsys.readouterr().out
    )
    assert not Path("runs").exists()
