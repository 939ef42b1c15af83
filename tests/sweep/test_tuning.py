"""A sweep through the front door, against a stand-in for the worker."""

import json
import socket
import time
from pathlib import Path

import optuna
import pytest

from ablate.study import run as study
from ablate.sweep.storage import close_storage, open_storage
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
    """A working directory in which the sweep has ended."""
    folder = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("study.yaml").write_text(STUDY)
        assert run() == study.DONE
    return folder


@pytest.fixture
def swept(once: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """That directory, for a test that leaves its runs as they are."""
    monkeypatch.chdir(once)
    return once


def run(*overrides: str) -> int:
    return study.run(Path("study.yaml"), overrides, workers=2, command=STAND_IN)


def configs() -> list[dict[str, object]]:
    files = Path("runs").glob("*/config.json")
    found = [json.loads(file.read_text()) for file in files]
    return [config["settings"] for config in found if config["kind"] == "jepa"]


def plan() -> dict[str, object]:
    content: dict[str, object] = json.loads(Path("reports/tuned/plan.json").read_text())
    return content


def test_every_level_is_tuned_with_as_many_points(swept: Path) -> None:
    assert [found["points"] for found in plan()["sweep"]] == [4, 4]
    tuned_on = [settings for settings in configs() if settings["seed"] == 1000]
    assert sum(settings["masker"]["type"] == "Good" for settings in tuned_on) == 4
    assert sum(settings["masker"]["type"] == "Other" for settings in tuned_on) == 4


def test_the_best_by_validation_is_trained_on_fresh_seeds_alone(swept: Path) -> None:
    tuned_on = [settings for settings in configs() if settings["seed"] == 1000]
    for label, kind in (("good", "Good"), ("other", "Other")):
        rates = [s["optimizer"]["rate"] for s in tuned_on if s["masker"]["type"] == kind]
        verdict = [t for t in plan()["trials"] if t["levels"]["masker"] == label]
        # the stand-in's validation score grows with the rate
        assert {t["settings"]["optimizer"]["rate"] for t in verdict} == {max(rates)}
        assert [t["seed"] for t in verdict] == [0, 1]


def test_a_setting_of_one_level_alone_is_turned_there_alone(swept: Path) -> None:
    ratios = {"Good": set(), "Other": set()}
    for settings in configs():
        ratios[settings["masker"]["type"]].add(settings["masker"]["ratio"])
    assert ratios["Good"] == {0.5}
    assert len(ratios["Other"]) == 4


def test_a_sweep_without_factors_holds_the_tuned_against_the_baseline(workdir: Path) -> None:
    text = STUDY.replace("  per: masker\n", "")
    start, end = text.index("factors:"), text.index("sweep:")
    text = text[:start] + text[end:]
    start, end = text.index("  only:"), text.index("seeds: 2")
    Path("study.yaml").write_text(text[:start] + text[end:])
    assert run() == study.DONE
    assert plan()["factors"] == {"settings": ["baseline", "tuned"]}
    assert len(plan()["trials"]) == 4


PRUNED = ("sweep.pruner=median", "sweep.trials=12", "budget.steps=100")


def test_a_hopeless_point_is_given_up_at_a_rung_and_counts_as_tried(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*PRUNED) == study.DONE
    for found in plan()["sweep"]:
        assert found["points"] == 12
        assert 1 <= found["pruned"] <= 8  # the first four meet no median
        [correlation, points] = found["fidelity"]["25"]
        assert points == 12 - found["pruned"]
        assert correlation == pytest.approx(1)  # the stand-in scores a rung as the end
    said = capsys.readouterr().out
    assert "at 50 % of the steps" in said
    assert "pruned at 25 % of the steps" in "".join(
        record.read_text() for record in Path("runs").glob("*/run.json")
    )


def test_what_was_pruned_stays_so_in_a_journal_that_is_rebuilt(workdir: Path) -> None:
    run(*PRUNED)
    before, runs = plan()["sweep"], sorted(Path("runs").glob("*/trainings"))
    trained = [path.read_text() for path in runs]
    Path("reports/tuned/optuna.journal").unlink()
    assert run(*PRUNED) == study.DONE
    assert plan()["sweep"] == before
    assert [path.read_text() for path in runs] == trained


@pytest.mark.parametrize("pruner", ["asha", "hyperband"])
def test_rungs_at_which_halving_judges_are_taken(workdir: Path, pruner: str) -> None:
    override = f"sweep.pruner={pruner}"
    assert run(override, "sweep.rungs=[0.1, 0.25, 0.5]", "budget.steps=100") == study.DONE


def test_the_wilcoxon_pruner_judges_after_each_seed(workdir: Path) -> None:
    text = STUDY.replace("seeds: 2\n", "seeds: [1, 2]\n")
    Path("study.yaml").write_text(text)
    assert run("sweep.pruner=wilcoxon", "sweep.seeds=6", "sweep.trials=8") == study.DONE
    assert sum(found["pruned"] for found in plan()["sweep"]) >= 1


def test_what_the_wilcoxon_pruner_compares_is_in_a_journal_that_is_rebuilt(workdir: Path) -> None:
    Path("study.yaml").write_text(STUDY.replace("seeds: 2\n", "seeds: [1, 2]\n"))
    few = ("sweep.pruner=wilcoxon", "sweep.seeds=4", "sweep.trials=2")
    assert run(*few) == study.DONE
    before = shown_to_pruners()
    assert len(before) == 4
    assert all(before.values())
    Path("reports/tuned/optuna.journal").unlink()
    assert run(*few) == study.DONE
    assert shown_to_pruners() == before
    assert all(found["fidelity"] == {} for found in plan()["sweep"])


def shown_to_pruners() -> dict[str, dict[int, float]]:
    """Reads what pruners have seen of each point in the journal."""
    storage = open_storage(None, Path("reports/tuned/optuna.journal"))
    found = optuna.get_all_study_names(storage)
    studies = [optuna.load_study(study_name=name, storage=storage) for name in found]
    trials = [trial for each in studies for trial in each.get_trials()]
    close_storage(storage)
    return {json.dumps(trial.params): trial.intermediate_values for trial in trials}


def test_a_second_time_nothing_is_trained(swept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(Path("runs").glob("*"))
    assert run() == study.DONE
    assert "0 trials to run, 4 done, 0 failed, of 4" in capsys.readouterr().out
    assert sorted(Path("runs").glob("*")) == before


def test_a_point_that_is_refused_is_told_with_its_reason(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sweep.only.other={masker.ratio: {low: 0.2, high: 1.8}}") == study.WRONG
    said = capsys.readouterr().err
    assert "`masker.ratio`: must be at most 1 (in `sweep.space.masker.ratio`)" in said


@pytest.mark.parametrize(
    ("override", "said"),
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
def test_a_mistake_in_the_section_is_told_before_anything_runs(
    workdir: Path, capsys: pytest.CaptureFixture[str], override: str, said: str
) -> None:
    assert run(override) == study.WRONG
    assert said in capsys.readouterr().err
    assert [path.name for path in workdir.iterdir()] == ["study.yaml"]


def test_a_storage_that_cannot_be_reached_is_told_in_time(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg")
    before = sorted(Path("runs").glob("*"))
    with socket.create_server(("127.0.0.1", 0)) as silent:  # accepts, and never says a word
        port = silent.getsockname()[1]
        started = time.monotonic()
        url = f"postgresql+psycopg://me:secret@127.0.0.1:{port}/x"
        assert run(f"sweep.storage={url}") == study.FAILED
        assert time.monotonic() - started < 60  # 5 s of them wait for the storage
    said = capsys.readouterr().err
    assert f"the storage postgresql+psycopg://127.0.0.1:{port}/x fails" in said
    assert "secret" not in said
    assert sorted(Path("runs").glob("*")) == before


def test_a_plan_shows_the_sweep_and_runs_nothing(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.show(Path("study.yaml"), command=STAND_IN) == study.DONE
    assert "sweep of other: 4 points by random: optimizer.rate, masker.ratio" in (
        capsys.readouterr().out
    )
    assert not Path("runs").exists()
