"""Loading a valid study: values, places, and overrides."""

from pathlib import Path

import pytest

from ablate.config.keys import DEFAULT_PROBES
from ablate.config.loader import load
from ablate.config.sections import Evaluate
from tests.config.conftest import STUDY, baseline, loaded, write


def test_a_study_is_read(folder: Path) -> None:
    study = loaded()
    assert (study.name, study.seeds, study.score) == ("masking", (0, 1, 2), "knn.concat_freq")
    assert (study.report.equivalence_margin, study.report.alpha) == (1.5, 0.05)
    assert list(study.factors["masker"]) == ["random", "block"]
    assert study.probes == DEFAULT_PROBES


def test_tasks_of_the_study_apply_to_every_probe_without_its_own(folder: Path) -> None:
    write(
        "studies/masking.yaml",
        STUDY + "tasks: {type: Env}\nprobes:\n  knn: {type: KNN}\n"
        "  own: {type: KNN, tasks: {type: Mine}}\n  none: {type: KNN, tasks: null}\n",
    )
    assert {name: probe["tasks"] for name, probe in loaded().probes.items()} == {
        "knn": {"type": "Env"},
        "own": {"type": "Mine"},
        "none": None,
    }


def test_the_first_comment_is_the_title(folder: Path) -> None:
    write("studies/masking.yaml", "#\n# Does it matter?\n#\n#   more\n" + STUDY)
    assert loaded().title == "Does it matter?"


def test_the_source_ends_with_the_overrides(folder: Path) -> None:
    assert loaded("budget.steps=3").source == STUDY + "# override: budget.steps=3\n"


def test_numbers_with_an_exponent_are_numbers(folder: Path) -> None:
    levels = loaded().factors["optimizer.rate"]
    assert {label: level.value for label, level in levels.items()} == {
        "0.001": 0.001,
        "0.003": 0.003,
    }


def test_no_is_text(folder: Path) -> None:
    assert baseline("data.label=no")["data"] == {"label": "no"}


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (["masker", "ratio"], "studies/masking.yaml:4"),
        (["budget", "steps"], "studies/masking.yaml:6"),
        (["budget", "batch"], "studies/recipes/tiny.yaml:3"),
        (["encoder", "dim"], "studies/recipes/tiny.yaml:6"),
        (["encoder", "nothing", "there"], "studies/recipes/tiny.yaml:4"),
        (["predictor"], "studies/masking.yaml:2"),
        (["optimizer", "rate"], "command line"),
    ],
)
def test_every_value_knows_where_it_was_written(folder: Path, path: list[str], place: str) -> None:
    assert loaded("optimizer.rate=1e-4").baseline.nearest(path).place == place


def test_an_override_addresses_the_baseline(folder: Path) -> None:
    settings = baseline("budget.steps=10", "data.label=instrument", "masker.blocks=[1, 2]")
    assert settings["budget"] == {"steps": 10, "batch": 16}
    assert settings["data"] == {"label": "instrument"}
    assert settings["masker"]["blocks"] == [1, 2]


def test_an_override_addresses_the_study(folder: Path) -> None:
    study = loaded("seeds=[4, 7]", "probes.knn.k=5", "report.alpha=0.1", "score=linear.mean")
    assert (study.seeds, study.score, study.report.alpha) == ((4, 7), "linear.mean", 0.1)
    assert study.probes["knn"] == {**DEFAULT_PROBES["knn"], "k": 5}


def test_an_override_reaches_into_a_level(folder: Path) -> None:
    study = loaded("factors.masker.block.num_targets=2")
    assert study.factors["masker"]["block"].plain()["num_targets"] == 2


def test_an_override_finds_a_factor_with_dots_in_its_name(folder: Path) -> None:
    assert list(loaded("factors.optimizer.rate=[1, 2]").factors["optimizer.rate"]) == ["1", "2"]


def test_an_override_can_add_a_factor(folder: Path) -> None:
    assert list(loaded("factors.budget.batch=[8, 16]").factors["budget.batch"]) == ["8", "16"]


def test_another_type_on_the_command_line_replaces_the_branch(folder: Path) -> None:
    settings = baseline("masker.type=maskers.Inverse", "masker.depth=2")
    assert settings["masker"] == {"type": "maskers.Inverse", "depth": 2}


def test_the_same_type_on_the_command_line_changes_nothing(folder: Path) -> None:
    assert baseline("masker.type=maskers.Random")["masker"]["ratio"] == 0.6


def test_a_byte_order_mark_is_ignored(folder: Path) -> None:
    Path("studies/masking.yaml").write_text(STUDY, encoding="utf-8-sig")
    assert loaded().name == "masking"


def test_aliases_are_resolved(folder: Path) -> None:
    text = STUDY.replace("steps: 1500", "steps: &n 7\n    batch: *n")
    write("studies/masking.yaml", text)
    assert baseline()["budget"] == {"steps": 7, "batch": 7}


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[2].glob("studies/*.yaml")), ids=str)
def test_the_studies_of_the_repository_are_valid(file: Path) -> None:
    assert load(file).seeds


def test_evaluate_takes_the_score_of_the_study_by_default(folder: Path) -> None:
    assert loaded().evaluate is None
    assert loaded("evaluate={every: 500}").evaluate == Evaluate(every=500, score="knn.concat_freq")
    section = loaded("evaluate={every: 10, clips: 20, score: linear.mean}").evaluate
    assert section == Evaluate(every=10, clips=20, score="linear.mean")


def test_a_matched_budget_leaves_the_batch_to_vary(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    text = "study: a\nbaseline: {budget: {steps: 10, batch: 2}}\nseeds: 1\n"
    file.write_text(f"{text}match_budget: clips\nfactors: {{budget.batch: [2, 4]}}\n")
    assert load(file).match_budget == "clips"
