"""Mistakes in a study file are reported with file, line, value and remedy, all at once."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.loader import load
from ablate.config.study import StudyError
from ablate.config.tree import COMMAND_LINE, format_problem, from_plain, set_path
from ablate.core.records.planning import SettingProblem
from tests.config.conftest import STUDY, loaded, problems


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
        ("budget.steps=2024-13-45", "invalid date or number: month must be in 1..12"),
        ("budget.steps=1\x07", "not YAML: the character U+0007; leave it out"),
    ],
)
def test_an_invalid_override_is_reported_with_its_source(
    folder: Path, override: str, expected: str
) -> None:
    (problem,) = problems(None, override)
    assert problem.startswith("command line: ")
    assert expected in problem


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("seeds: 3", "sedes: 3", "masking.yaml:12: unknown key `sedes` (did you mean `seeds`?)"),
        ("seeds: 3", "seeds: 0", "masking.yaml:12: `seeds` must be a count from 1 up"),
        ("seeds: 3", "seeds: [1, 1]", "different integers from 0 up; got [1, 1]"),
        ("seeds: 3", 'seeds: "3"', "12: `seeds` must be written without quotes; got '3'"),
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
        (
            "steps: 1500",
            "steps: 2020-13-01",
            "masking.yaml: invalid date or number: month",
        ),
        ("steps: 1500", "steps: !!int abc", "10: 'abc'; write it in quotes"),
        ("steps: 1500", "steps: 15\x0000", "masking.yaml:6: not YAML: the character U+0000"),
        ("study: masking", "&all\nstudy: *all", "masking.yaml:2: an alias that contains itself"),
        (
            "seeds: 3",
            "seeds: 3\nprobes: {}",
            "`probes` must not be empty: name of a probe -> its settings",
        ),
        (
            "seeds: 3",
            "notes: {blok: a}\nseeds: 3",
            "`notes` explains `blok`, which is not a level (did you mean `block`?)",
        ),
        (
            "seeds: 3",
            "notes: {block: 3}\nseeds: 3",
            "12: `notes.block` must be a line of text; got 3",
        ),
        ("seeds: 3", 'notes: {block: "a\\nb"}\nseeds: 3', "must be a line of text; got 'a\\nb'"),
        (
            "seeds: 3",
            "notes: as drawn\nseeds: 3",
            "12: `notes` must be a mapping: label of a level -> one line",
        ),
        ("seeds: 3", "seeds: 3\nprobes: {knn: {k: 3}}", "probe `knn` needs a `type`"),
        ("seeds: 3", "seeds: 3\nprobes: {a.b: {type: x.Y}}", "a probe's name is made of"),
    ],
)
def test_a_mistake_is_reported_with_its_line_and_value(
    folder: Path, before: str, after: str, expected: str
) -> None:
    assert before in STUDY
    lines = problems(STUDY.replace(before, after, 1))
    assert any(expected in line for line in lines), lines


def test_mistakes_of_the_file_and_of_overrides_are_reported_together(folder: Path) -> None:
    text = STUDY.replace("seeds: 3", "seeds: 0").replace("  masker: {", "  maskr: {", 1)
    assert len(problems(text, "budgt.steps=3")) == 3


# keys of a study, each with mistakes that no other key causes or hides -> what is reported
MISTAKES = {
    "study: a b": {"`study` must be a name"},
    "sedes: 3": {"unknown key `sedes`"},
    "score: linaer.meen": {"there is no probe `linaer`", "there is no pooling `meen`"},
    "seeds: [1, 1]": {"list of different integers"},
    "design: gird": {"unknown value `gird` of `design`"},
    "zip: [[masker], [masker, foo]]": {"groups of two or more factors", "no factor of the study"},
    "when: {maskr: {masker: block}}": {"`when` names no factor of the study: `maskr`"},
    "exclude: [3, {masker: blok}]": {"must hold levels of factors", "has no level `blok`"},
    "notes: {blok: 3}": {"must be a line of text; got 3", "`notes` explains `blok`"},
    "confirm: {top: 0}": {"`confirm.top` must be a count", "`confirm.seeds` is missing"},
    "evaluate: {every: 0, score: kn.mean}": {"number of steps", "there is no probe `kn`"},
    "report: {alpha: 2, alfa: 2}": {"between 0 and 0.5; got 2", "unknown key `alfa`"},
    "limits:": {"`limits` must be a mapping with trials, hours, disk_gb"},
    "tasks:": {"`tasks` must be a mapping"},
    "match_budget: seconds": {"match `flops`, and cap hours"},
    "sweep: {space: {maskr.x: {low: 1}}, per: [mask], trials: 0}": {
        "`maskr.x` is not a setting",
        "high` is missing",
        "`sweep.per` names no factor of the study: `mask`",
        "factor `masker` is not in `sweep.per`",
        "`sweep.trials` must be a count",
    },
}
VALID = {
    "study": "study: a",
    "seeds": "seeds: 3",
    "baseline": "baseline: {masker: {type: a.B}}",
    "factors": "factors: {masker: {block: {type: a.C}}}",
}


@given(st.sets(st.sampled_from([*MISTAKES])))
def test_no_mistake_hides_another(
    tmp_path_factory: pytest.TempPathFactory, chosen: set[str]
) -> None:
    file = tmp_path_factory.getbasetemp() / "study.yaml"
    keys = VALID | {line.partition(":")[0]: line for line in chosen}
    file.write_text("\n".join(keys.values()))
    with pytest.raises(StudyError) if chosen else contextlib.nullcontext() as caught:
        load(file)
    lines = caught.value.problems if caught else []
    expected = {text for mistake in chosen for text in MISTAKES[mistake]}
    assert not [text for text in expected if not any(text in line for line in lines)], lines


def test_problems_are_reported_in_the_order_of_the_file(folder: Path) -> None:
    text = STUDY.replace("seeds: 3", "zip: [[masker, a]]\nseeds: 0").replace("tudy:", "tudi:", 1)
    lines = [int(line.split(":")[1]) for line in problems(text)]
    assert lines == sorted(lines)
    assert len(lines) == 4


def test_names_of_invalid_probes_and_factors_are_not_reported_as_unknown(folder: Path) -> None:
    text = STUDY.replace("[1e-3, 3e-3]", "5").replace("score: knn.concat_freq", "score: kn.mean")
    text += "probes: {kn: 3}\nexclude: [{optimizer.rate: 5}]\n"
    factor, probe = problems(text)
    assert "factor `optimizer.rate` needs levels" in factor
    assert "`probes.kn` must be a mapping" in probe


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "studies/masking.yaml: the file is empty"),
        ("# nothing\n", "studies/masking.yaml: the file is empty"),
        ("- a\n", "studies/masking.yaml:1: expected the keys study, baseline"),
        ("study: a\n---\nstudy: b\n", "not YAML: but found another document"),
    ],
)
def test_a_file_without_a_study_is_reported(folder: Path, text: str, expected: str) -> None:
    (problem,) = problems(text)
    assert expected in problem


def test_a_missing_file_is_named_with_its_neighbours(folder: Path) -> None:
    with pytest.raises(StudyError, match=r"no such file \(did you mean `masking.yaml`\?\)"):
        load(Path("studies/maskng.yaml"))


def test_a_file_that_is_not_utf8_is_reported(folder: Path) -> None:
    Path("studies/masking.yaml").write_bytes(b"study: \xff\xfe")
    with pytest.raises(StudyError, match="not UTF-8"):
        loaded()


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("{clips: 20}", "`evaluate.every` is missing: training steps between two evaluations"),
        ("{every: 0}", "`evaluate.every` must be a number of steps from 1 up; got 0"),
        ("{every: 5, clips: some}", "`evaluate.clips` must be a number of clips from 1 up"),
        ("{every: 5, steps: 5}", "unknown key `steps` of `evaluate`"),
        ("{every: 5, score: kn.mean}", "there is no probe `kn` (did you mean `knn`?)"),
        ("{every: 5, score: knn.meen}", "there is no pooling `meen` (did you mean `mean`?)"),
    ],
)
def test_an_invalid_evaluate_section_is_reported(folder: Path, section: str, problem: str) -> None:
    [line] = problems(None, f"evaluate={section}")
    assert problem in line


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
def test_a_budget_that_cannot_be_matched_is_reported(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(f"study: a\nbaseline: {{budget: {{steps: 10, batch: 2}}}}\nseeds: 1\n{text}")
    with pytest.raises(StudyError, match=re.escape(problem)):
        load(file)


def test_a_problem_of_a_part_with_overridden_settings_names_the_command_line_too() -> None:
    tree = from_plain({"baseline": {"masker": {"ratio": 0.6}, "budget": {}}}, "a.yaml:3")
    over = set_path(tree, ("baseline", "masker", "ratio"), from_plain(1.5, COMMAND_LINE))
    for path, place in (
        (["masker"], "a.yaml:3, with the command line"),
        (["masker", "ratio"], "command line"),
        (["budget"], "a.yaml:3"),
    ):
        problem = SettingProblem(path=("baseline", *path), message="wrong")
        assert format_problem(over, problem) == f"{place}: `{'.'.join(path)}`: wrong"


def repeat_aliases(levels: int) -> str:
    """Writes a list of ten aliases of a list of ten aliases, and so on."""
    lines = (f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, levels))
    return "\n".join(["a0: &a0 [1]", *lines])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (repeat_aliases(9), "with all aliases written out, a file has 100000 values at most"),
        ("a: " + "[" * 3000 + "]" * 3000, "nested in more than 50 levels"),
        ("a: " + "{a: " * 60 + "1" + "}" * 60, "nested in more than 50 levels"),
        ("a:\n  " + "- " * 3000 + "1", "nested in more than 50 levels"),
        ("# " + "x" * 300_000, "characters are no settings; 250000 at most are read"),
        ("? {a: {b: [c]}}\n: 1", "a mapping is the key of another"),
    ],
)
def test_yaml_without_bounds_is_rejected(tmp_path: Path, text: str, expected: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text)
    with pytest.raises(StudyError, match=re.escape(expected)):
        load(file)


def test_files_that_extend_each_other_too_often_are_rejected(tmp_path: Path) -> None:
    for i in range(8):
        links = ", ".join([f"{i + 1}.yaml"] * 10)
        (tmp_path / f"{i}.yaml").write_text(f"extends: [{links}]")
    (tmp_path / "8.yaml").write_text("budget: {steps: 1}")
    file = tmp_path / "study.yaml"
    file.write_text("study: x\nbaseline: {extends: 0.yaml}")
    with pytest.raises(StudyError, match=r"`extends` reads more than 100 files"):
        load(file)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (f"study={'x' * 101}", "100 bytes at most"),
        (f"factors.masker={{{'ü' * 51}: {{type: maskers.Random}}}}", "they have 100 bytes at most"),
        (f"probes.{'k' * 101}.type=x", "100 bytes at most"),
        ("seeds=1000000000", "10000 seeds at most"),
        ("seeds={start: 2, max: 1000000000}", "must be a count from 1 to 10000"),
        ("confirm={top: 1, seeds: 1000000000}", "must be a count from 2 to 10000"),
    ],
)
def test_names_too_long_for_files_and_counts_too_large_are_rejected(
    folder: Path, override: str, expected: str
) -> None:
    assert any(expected in problem for problem in problems(None, override))


@pytest.mark.parametrize(
    "override",
    [
        "data.url=https://me:S3cret@host/clips",
        "data.api_key=S3cret",
        "factors.data=[{type: S, password: S3cret}]",
        "data.places=['s3://key:S3cret@bucket']",
        "data.WANDB_API_KEY=S3cret",
        "data.token=S3cret",
        "data.hf_token=S3cret",
    ],
)
def test_a_password_anywhere_is_rejected_and_not_repeated(folder: Path, override: str) -> None:
    [problem] = problems(None, override, "score=nothing")
    assert "contains a password" in problem
    assert "S3cret" not in problem


@pytest.mark.parametrize(
    "override", ["data.url=https://me:${KEY}@host/clips?page=2", "data.api_key=${KEY}"]
)
def test_the_name_of_an_environment_variable_is_no_password(folder: Path, override: str) -> None:
    loaded(override)


def test_a_level_may_have_a_name_that_is_a_key_of_passwords(folder: Path) -> None:
    levels = loaded("factors.optimizer.precision={token: bf16, plain: fp32}").factors
    assert set(levels["optimizer.precision"]) == {"token", "plain"}


def test_the_address_of_a_webhook_is_rejected_and_not_repeated(folder: Path) -> None:
    [problem] = problems(None, "notify=https://hooks.example.org/S3cret", "score=nothing")
    assert "`notify` contains the address of a webhook" in problem
    assert "S3cret" not in problem
    assert loaded("notify=${HOOK}").notify == "${HOOK}"
