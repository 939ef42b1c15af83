"""Tests of how a study's variants, work and states are formatted."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.config import loader
from ablate.core.records.metrics_log import format_line
from ablate.core.records.plan import MatchedSetting, MissingTask, StudyPlan
from ablate.core.seeds import SETTINGS
from ablate.runs.lock import acquire_run
from ablate.runs.pending import PendingWork
from ablate.runs.preview import format_preview, format_summary
from ablate.runs.status import collect_states, is_unfinished
from tests.plans import (
    change_data,
    change_facts,
    make_entry,
    make_facts,
    make_plan,
    make_token_stats,
)
from tests.run_folders import write_record

WARNING = "Levels of masker differ in their realised targets: block 52 %"


def plan() -> StudyPlan:
    match = MatchedSetting(
        setting="masker.context_area",
        value=[0.813, 0.963],
        share="context",
        wanted=0.406,
        reached=0.4062,
    )
    facts = make_facts(context=0.406, targets=0.594)
    random = make_entry("a", levels={"masker": "random"}, settings={"m": 1}, facts=facts)
    block = make_entry("b", levels={"masker": "block"}, settings={"m": 2}, facts=facts)
    return make_plan(random, change_facts(block, matched=(match,)), warnings=(WARNING,))


def change_block(plan: StudyPlan, **facts: Any) -> StudyPlan:
    random, block = plan.trials
    return replace(plan, trials=(random, change_facts(block, **facts)))


def test_a_matched_value_is_listed_with_its_variant(tmp_path: Path) -> None:
    lines = format_preview(plan(), tmp_path)
    place = lines.index("    m: 1 -> 2")
    assert lines[place + 1] == (
        "    matched: masker.context_area [0.813, 0.963] for context 40.6 %, reached 40.6 %"
    )


def test_missing_tasks_are_listed_with_their_reason() -> None:
    missing = tuple(
        MissingTask(task=name, reason="no folder", domain="environment", weight=1)
        for name in ("esc50", "desed")
    )
    study = change_data(plan(), missing=missing)
    lines = format_summary(study, PendingWork())
    assert "  missing esc50, desed: no folder" in lines


@pytest.mark.parametrize(
    ("states", "still"),
    [
        (("planned", "done"), True),
        (("preempted", "done"), True),
        (("done", "failed"), False),
        (("done", "pruned"), False),
        (("running", "done"), False),  # locked by no process: its session was killed
        (("running", "planned"), False),
    ],
)
def test_a_study_is_unfinished_while_its_trials_can_be_expected_to_run(
    tmp_path: Path, states: tuple[str, str], *, still: bool
) -> None:
    for name, state in zip("ab", states, strict=True):
        if state != "planned":
            write_record(tmp_path / name, state)
    assert is_unfinished(plan(), tmp_path) == still


def test_a_study_with_a_locked_trial_is_unfinished(tmp_path: Path) -> None:
    for name in "ab":
        write_record(tmp_path / name, "running")
    with acquire_run(tmp_path / "a"):
        assert is_unfinished(plan(), tmp_path)


def test_a_running_trial_is_listed_with_its_step_loss_and_rate(tmp_path: Path) -> None:
    random, block = plan().trials
    trials = tuple(replace(t, settings={"budget": {"steps": 1500}}) for t in (random, block))
    study = replace(plan(), trials=trials)
    for name in "ab":
        write_record(tmp_path / name, "running")
    rows = [{"step": 50, "loss": 0.9}, {"step": 100, "loss": 0.41234, "tokens_per_second": 7.6}]
    text = "".join(map(format_line, rows))
    (tmp_path / "a" / "metrics.jsonl").write_text(text + '{"step": 15')
    with acquire_run(tmp_path / "a"), acquire_run(tmp_path / "b"):
        states = collect_states(study, tmp_path)["trials"]
    expected = ["step 100 of 1500, loss 0.4123, 8 tokens/s", ""]
    assert [state["progress"] for state in states] == expected


def test_warnings_are_listed(tmp_path: Path) -> None:
    assert f"warning: {WARNING}" in format_preview(plan(), tmp_path)


def test_patches_both_visible_and_predicted_are_reported_only_if_any(tmp_path: Path) -> None:
    lines = format_preview(change_block(plan(), overlap=0.451), tmp_path)
    overlaps = [line for line in lines if "of the visible" in line]
    assert overlaps == [next(line for line in lines if line.startswith("  block:"))]
    assert "59% predicted (45.1% of the visible are also predicted)" in overlaps[0]


def test_token_statistics_follow_their_variant(tmp_path: Path) -> None:
    planned = change_block(plan(), tokens=make_token_stats(("a column every 160 ms", "and so on")))
    lines = format_preview(planned, tmp_path)
    place = next(i for i, line in enumerate(lines) if line.startswith("  block:"))
    assert lines[place + 1 : place + 3] == ["    a column every 160 ms", "    and so on"]


def test_the_baseline_is_printed_as_yaml_with_all_defaults_and_no_seeds(tmp_path: Path) -> None:
    planned = plan()
    settings = {
        "masker": {"type": "maskers.Random", "ratio": [0.4, 0.6], "per": "batch"},
        "data": {"type": "a.Folder", "manifest": "my list: 1.csv", "task": ""},
        "optimizer": {"rate": 0.0004, "clip": 0.0, "flag": True, "none": None, "word": "null"},
        "tiny": 1e-6,
    }
    random, block = planned.trials
    seeds = {name: number for number, name in enumerate(SETTINGS.values())}
    random = replace(random, settings={**settings, **seeds})
    planned = replace(planned, trials=(random, block))
    lines = format_preview(planned, tmp_path)
    assert lines[1] == "  masker: {type: maskers.Random, ratio: [0.4, 0.6], per: batch}"
    printed = "\n".join(lines[1 : lines.index("variants (baseline first):")])
    file = tmp_path / "printed.yaml"
    file.write_text(printed)
    assert loader.read(file).plain() == settings
