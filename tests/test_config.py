"""A study's text: what is understood, and what is refused with file, line and a way out."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from ablate import shipped
from ablate.config import load
from ablate.schema import DEFAULT_PROBES, Study, StudyError
from ablate.sections.evaluate import Evaluate

STUDY = """\
study: masking
baseline:
  extends: recipes/tiny.yaml
  masker: {type: maskers.Random, ratio: 0.6}
  budget:
    steps: 1500
factors:
  masker:
    random: {type: maskers.Random, ratio: 0.6}
    block: {type: maskers.MultiBlock}
  optimizer.rate: [1e-3, 3e-3]
seeds: 3
score: knn.concat_freq
report: {equivalence_margin: 1.5}
"""
TINY = """\
# the smallest
masker: {type: maskers.TimeFrequency, axes: time}
budget: {steps: 10, batch: 16}
encoder:
  type: ablate.model.vit.ViT
  dim: 64
optimizer: {rate: 1e-3}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write("studies/masking.yaml", STUDY)
    write("studies/recipes/tiny.yaml", TINY)
    return tmp_path


def write(path: str, text: str) -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def loaded(*overrides: str) -> Study:
    return load(Path("studies/masking.yaml"), overrides)


def baseline(*overrides: str) -> Any:
    return loaded(*overrides).baseline.plain()


def problems(text: str | None = None, *overrides: str) -> list[str]:
    if text is not None:
        write("studies/masking.yaml", text)
    with pytest.raises(StudyError) as caught:
        loaded(*overrides)
    return caught.value.problems


def test_a_study_is_read(folder: Path) -> None:
    study = loaded()
    assert (study.name, study.seeds, study.score) == ("masking", (0, 1, 2), "knn.concat_freq")
    assert (study.report.equivalence_margin, study.report.alpha) == (1.5, 0.05)
    assert list(study.factors["masker"]) == ["random", "block"]
    assert study.probes == DEFAULT_PROBES


def test_tasks_of_the_study_are_those_of_every_probe_that_names_none(folder: Path) -> None:
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


def test_no_is_a_word(folder: Path) -> None:
    assert baseline("data.label=no")["data"] == {"label": "no"}


def test_an_extended_file_is_merged_deeply(folder: Path) -> None:
    assert baseline()["budget"] == {"steps": 1500, "batch": 16}


def test_another_type_replaces_what_was_inherited(folder: Path) -> None:
    assert baseline()["masker"] == {"type": "maskers.Random", "ratio": 0.6}


def test_the_same_type_adds_to_what_was_inherited(folder: Path) -> None:
    text = STUDY.replace(
        "  budget:", "  encoder: {type: ablate.model.vit.ViT, layers: 2}\n  budget:"
    )
    write("studies/masking.yaml", text)
    assert baseline()["encoder"] == {"type": "ablate.model.vit.ViT", "dim": 64, "layers": 2}


def test_extended_files_extend_files_relative_to_themselves(folder: Path) -> None:
    write("studies/recipes/tiny.yaml", "extends: ../more/base.yaml\n" + TINY)
    write("studies/more/base.yaml", "mel: {bands: 80}\nbudget: {clips: 3}\n")
    assert baseline()["mel"] == {"bands": 80}
    assert baseline()["budget"] == {"clips": 3, "steps": 1500, "batch": 16}


def test_a_recipe_that_comes_with_the_package_needs_no_copy(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("recipes/tiny.yaml", "recipes/a_jepa.yaml"))
    assert baseline()["predictor"]["type"] == "ablate.model.predictor.PerTarget"


def test_an_own_file_goes_before_the_recipe_of_its_name(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("recipes/tiny.yaml", "recipes/a_jepa.yaml"))
    write("studies/recipes/a_jepa.yaml", TINY)
    assert "predictor" not in baseline()


def test_every_recipe_is_part_of_a_wheel() -> None:
    root = Path(__file__).parents[1]
    lists = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["data-files"]
    packed = {
        f"{place.removeprefix(shipped.DATA)}/{file.name}": file
        for place, patterns in lists.items()
        for pattern in patterns
        for file in root.glob(pattern)
    }
    assert packed == shipped.recipes()


SMALL = """\
masker: {type: maskers.MultiBlock}
overlay:
  data: {type: ablate.audio.synthetic.Synthetic}
  crop_seconds: 1.28
  encoder: {dim: 8, layers: 2, kernel: 3}
  budget: {steps: 4}
"""


def in_a_list(*files: str) -> Any:
    write("studies/recipes/small.yaml", SMALL)
    text = STUDY.replace("extends: recipes/tiny.yaml", f"extends: [{', '.join(files)}]")
    text = text.replace(
        "  masker: {type: maskers.Random, ratio: 0.6}\n  budget:\n    steps: 1500\n", ""
    )
    write("studies/masking.yaml", text)
    return baseline()


def test_of_a_list_of_files_each_is_laid_over_those_before_it(folder: Path) -> None:
    write("studies/recipes/more.yaml", "masker: {type: maskers.Random}\nbudget: {steps: 12}\n")
    found = in_a_list("recipes/tiny.yaml", "recipes/more.yaml")
    assert found["masker"] == {"type": "maskers.Random"}
    assert found["budget"] == {"steps": 12, "batch": 16}


def test_an_overlay_changes_only_what_is_there_and_keeps_its_kind(folder: Path) -> None:
    found = in_a_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert found["encoder"] == {"type": "ablate.model.vit.ViT", "dim": 8}
    assert found["budget"] == {"steps": 4, "batch": 16}
    assert found["masker"]["type"] == "maskers.TimeFrequency"
    assert not {"crop_seconds", "data", "overlay"} & found.keys()


def test_a_part_that_an_overlay_names_replaces_the_one_that_is_there(folder: Path) -> None:
    tiny = TINY + "data: {type: my.Folder, manifest: list.csv}\n"
    write("studies/recipes/tiny.yaml", tiny)
    found = in_a_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert found["data"] == {"type": "ablate.audio.synthetic.Synthetic"}


def test_a_file_with_an_overlay_is_a_baseline_by_itself(folder: Path) -> None:
    assert in_a_list("recipes/small.yaml") == {"masker": {"type": "maskers.MultiBlock"}}


def test_a_size_in_other_words_takes_the_place_of_the_one_that_is_there(folder: Path) -> None:
    write("studies/recipes/tiny.yaml", TINY + "patchifier: {type: R, time: 4}\ncrop_frames: 128\n")
    write("studies/recipes/more.yaml", "patchifier: {seconds: 0.1}\ncrop_seconds: 2\n")
    found = in_a_list("recipes/tiny.yaml", "recipes/more.yaml")
    assert found["patchifier"] == {"type": "R", "seconds": 0.1}
    assert found["crop_seconds"] == 2
    assert "crop_frames" not in found
    told = baseline("patchifier.time=8", "crop_frames=64")
    assert (told["patchifier"], told["crop_frames"]) == ({"type": "R", "time": 8}, 64)
    assert "crop_seconds" not in told


def test_an_overlay_remembers_where_it_was_written(folder: Path) -> None:
    in_a_list("recipes/tiny.yaml", "recipes/small.yaml")
    assert loaded().baseline.nearest(["encoder", "dim"]).place == "studies/recipes/small.yaml:5"
    assert loaded().baseline.nearest(["encoder"]).place == "studies/recipes/tiny.yaml:4"


def test_an_overlay_in_a_study_itself_is_refused(folder: Path) -> None:
    write("studies/masking.yaml", STUDY.replace("  budget:", "  overlay: {}\n  budget:"))
    with pytest.raises(StudyError, match="unknown key `overlay` of `baseline`"):
        loaded()


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


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("budgt.steps=10", "unknown key `budgt` (did you mean `budget`?)"),
        ("seed=3", "unknown key `seed` (did you mean `seeds`?)"),
        ("baseline.maskr.ratio=1", "unknown key `maskr` of `baseline` (did you mean `masker`?)"),
        ("factors.maske=[1]", "factor `maske` is not a setting of the baseline (did you mean"),
        ("probes.kn.k=3", "probe `kn` needs a `type`: the dotted path of a probe (did you mean"),
        ("report.alpa=0.1", "unknown key `alpa` of `report` (did you mean `alpha`?)"),
        ("score=knn.concat", "no pooling `concat` (did you mean `concat_freq`?)"),
        ("score=kn.mean", "there is no probe `kn` (did you mean `knn`?)"),
        ("budget.steps", "expected `key=value`"),
        ("=3", "expected `key=value`"),
        ("budget..steps=3", "expected `key=value`"),
        ("study.name=3", "`name` cannot be set: the value there is 'masking'"),
        ("budget.steps=[1", "not YAML"),
    ],
)
def test_a_wrong_override_is_refused(folder: Path, override: str, expected: str) -> None:
    (problem,) = problems(None, override)
    assert problem.startswith("command line: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("seeds: 3", "sedes: 3", "masking.yaml:12: unknown key `sedes` (did you mean `seeds`?)"),
        ("seeds: 3", "seeds: 0", "masking.yaml:12: `seeds` must be a count from 1 up"),
        ("seeds: 3", "seeds: [1, 1]", "different integers from 0 up; got [1, 1]"),
        ("seeds: 3", "seeds: true", "different integers from 0 up; got True"),
        ("seeds: 3", "seeds: {start: 3}", "got {'start': 3}"),
        ("study: masking", "study: a/b", "masking.yaml:1: `study` must be a name"),
        ("study: masking\n", "", "masking.yaml:1: `study` is missing"),
        ("  masker: {", "  maskr: {", "masking.yaml:4: unknown key `maskr` of `baseline`"),
        ("  masker: {", "  seed: {", "masking.yaml:4: `seed` is not a setting of the baseline"),
        ("tiny.yaml", "tny.yaml", "masking.yaml:3: `extends`: studies/recipes/tny.yaml: no such"),
        ("recipes/tiny.yaml", "recipes/ajepa.yaml", "(did you mean `recipes/a_jepa.yaml`?)"),
        ("recipes/tiny.yaml", "masking.yaml", "masking.yaml:3: `extends` goes in a circle"),
        ("recipes/tiny.yaml", "[1]", "masking.yaml:3: `extends` must be a path, got [1]"),
        ("  optimizer.rate:", "  rate:", "masking.yaml:11: factor `rate` is not a setting"),
        ("  optimizer.rate:", "  budget.steps.x:", "without settings: 1500"),
        ("[1e-3, 3e-3]", "[1e-3, 0.001]", "masking.yaml:11: levels `0.001` and `0.001 again`"),
        ("[1e-3, 3e-3]", "[]", "needs levels"),
        ("[1e-3, 3e-3]", "1e-3", "needs levels"),
        ("[1e-3, 3e-3]", "[{a: 1}]", "needs a label"),
        ("    block:", "    a/b:", "masking.yaml:10: labels name files"),
        ("{type: maskers.MultiBlock}", "{ratio: 0.6, type: maskers.Random}", "are the same"),
        ("report: {", "report: [", "not YAML"),
        ("margin: 1.5", "margin: -1", "must lie between 0 and 100; got -1"),
        ("seeds: 3", "seeds: 3\nseeds: 4", "masking.yaml:13: the key `seeds` appears twice"),
        ("    steps: 1500", "\tsteps: 1500", "masking.yaml:6: not YAML: a tab"),
        ("steps: 1500", "steps: .inf", "masking.yaml:6: inf is not a finite number"),
        ("steps: 1500", "steps: 2020-01-01", "masking.yaml:6: `2020-01-01` is a date"),
        ("study: masking", "&all\nstudy: *all", "masking.yaml:2: an alias that contains itself"),
        ("seeds: 3", "seeds: 3\nprobes: {}", "`probes` must map names"),
        (
            "seeds: 3",
            "notes: {blok: a}\nseeds: 3",
            "no level (did you mean `block`?)",
        ),
        (
            "seeds: 3",
            "notes: {block: 3}\nseeds: 3",
            "12: the note on `block` must be a",
        ),
        ("seeds: 3", 'notes: {block: "a\\nb"}\nseeds: 3', "must be a line of text; got 'a\\nb'"),
        ("seeds: 3", "notes: as drawn\nseeds: 3", "12: `notes` must map names of levels to a line"),
        ("seeds: 3", "seeds: 3\nprobes: {knn: {k: 3}}", "probe `knn` needs a `type`"),
        ("seeds: 3", "seeds: 3\nprobes: {a.b: {type: x.Y}}", "a probe's name is made of"),
    ],
)
def test_a_wrong_study_is_refused_where_it_is_wrong(
    folder: Path, before: str, after: str, expected: str
) -> None:
    assert before in STUDY
    found = problems(STUDY.replace(before, after, 1))
    assert any(expected in problem for problem in found), found


def test_all_problems_are_told_at_once(folder: Path) -> None:
    text = STUDY.replace("seeds: 3", "seeds: 0").replace("  masker: {", "  maskr: {", 1)
    assert len(problems(text, "budgt.steps=3")) == 3


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "studies/masking.yaml: the file is empty"),
        ("# nothing\n", "studies/masking.yaml: the file is empty"),
        ("- a\n", "studies/masking.yaml:1: expected the keys study, baseline"),
        ("study: a\n---\nstudy: b\n", "not YAML: but found another document"),
    ],
)
def test_a_file_that_holds_no_study_is_refused(folder: Path, text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert expected in problem


def test_a_missing_file_is_named_with_its_neighbours(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"no such file \(did you mean `masking.yaml`\?\)"):
        load(Path("studies/maskng.yaml"))


def test_a_file_that_is_not_text_is_refused(folder: Path) -> None:
    Path("studies/masking.yaml").write_bytes(b"study: \xff\xfe")
    with pytest.raises(StudyError, match="not UTF-8"):
        loaded()


def test_a_byte_order_mark_is_no_part_of_the_text(folder: Path) -> None:
    Path("studies/masking.yaml").write_text(STUDY, encoding="utf-8-sig")
    assert loaded().name == "masking"


def test_aliases_are_understood(folder: Path) -> None:
    text = STUDY.replace("steps: 1500", "steps: &n 7\n    batch: *n")
    write("studies/masking.yaml", text)
    assert baseline()["budget"] == {"steps": 7, "batch": 7}


@pytest.mark.parametrize("file", sorted(Path(__file__).parents[1].glob("studies/*.yaml")), ids=str)
def test_our_studies_are_in_order(file: Path) -> None:
    assert load(file).seeds


def test_a_study_may_look_at_its_trainings(folder: Path) -> None:
    assert loaded().evaluate is None
    assert loaded("evaluate={every: 500}").evaluate == Evaluate(every=500, score="knn.concat_freq")
    asked = loaded("evaluate={every: 10, clips: 20, score: linear.mean}").evaluate
    assert asked == Evaluate(every=10, clips=20, score="linear.mean")


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{clips: 20}", "`evaluate` needs `every`, a number of steps"),
        ("{every: 0}", "`evaluate.every` must be a number of steps from 1 up; got 0"),
        ("{every: 5, clips: some}", "`evaluate.clips` must be a number of clips from 1 up"),
        ("{every: 5, steps: 5}", "unknown key `steps` of `evaluate`"),
        ("{every: 5, score: kn.mean}", "there is no probe `kn` (did you mean `knn`?)"),
        ("{every: 5, score: knn.meen}", "there is no pooling `meen` (did you mean `mean`?)"),
    ],
)
def test_a_look_that_cannot_be_is_refused(folder: Path, section: str, problem: str) -> None:
    [found] = problems(None, f"evaluate={section}")
    assert problem in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("match_budget: seconds\n", "match `flops`, and cap hours with `limits`"),
        ("match_budget: flop\n", "did you mean `flops`"),
        (
            "match_budget: clips\nfactors: {budget.steps: [10, 20]}\n",
            "level `20` of factor `budget.steps` sets `budget.steps` itself",
        ),
        (
            "match_budget: flops\nfactors: {budget: {long: {steps: 99, batch: 2}}}\n",
            "level `long` of factor `budget` sets `budget.steps` itself",
        ),
    ],
)
def test_a_matched_budget_that_cannot_be_is_refused(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"study: a\nbaseline: {{budget: {{steps: 10, batch: 2}}}}\nseeds: 1\n{text}")
    with pytest.raises(StudyError, match=re.escape(problem)):
        load(file)


def test_a_matched_budget_leaves_the_batch_to_vary(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    text = "study: a\nbaseline: {budget: {steps: 10, batch: 2}}\nseeds: 1\n"
    file.write_text(f"{text}match_budget: clips\nfactors: {{budget.batch: [2, 4]}}\n")
    assert load(file).match_budget == "clips"
