"""The report has notes, a protocol and caveats."""

import json
from dataclasses import replace

import pytest

from ablate.core.io import read_json
from ablate.core.records.plan import RecordedLooks, TaskSummary, TrialEntry
from ablate.report.pages.findings import FINDINGS_FILE
from ablate.report.report import write_report
from tests.plans import change_data, change_facts, change_trials, make_token_stats
from tests.report.conftest import StudyBuilder


def test_test_clips_used_in_pretraining_are_reported(builder: StudyBuilder) -> None:
    tasks = {"esc50": TaskSummary(classes=50, folds=5)}
    plan = change_data(builder.build(), pretraining_clips=3500, tasks=tasks)
    summary = write_report(plan, builder.root / "nowhere", builder.report)
    assert any(
        line.startswith("Test clips were used, unlabelled, in pre-train")
        for line in summary.caveats
    )
    text = summary.page.with_name("report.md").read_text()
    assert "3600 clips, 3500 of them for pre-training (digest" in text


def test_notes_on_levels_follow_the_contrasts(builder: StudyBuilder) -> None:
    notes = {"block": "as <published>", "excluded": "in no trial"}
    plan = replace(builder.build(), notes=notes)
    page = write_report(plan, builder.root / "nowhere", builder.report).page
    markdown = page.with_name("report.md").read_text()
    places = [
        markdown.index(text) for text in ("## Contrasts", r"- `block`: as \<pub", "## Verdicts")
    ]
    assert places == sorted(places)
    assert "<strong>block</strong>: as &lt;published&gt;" in page.read_text()
    assert read_json(builder.report / FINDINGS_FILE)["notes"] == {"block": "as <published>"}


def test_the_protocol_describes_the_tokens_of_each_patchifier(builder: StudyBuilder) -> None:
    messages = {"squares": "a column every 160 ms", "strips": "a column every 40 ms"}

    def with_tokens(trial: TrialEntry) -> TrialEntry:
        own = (messages[trial.levels["patchifier"]], "and so on")
        return change_facts(trial, tokens=make_token_stats(own))

    plan = change_trials(builder.build(), with_tokens)
    text = write_report(plan, builder.runs, builder.report).page.with_name("report.md").read_text()
    parts = [f"{cut}: {words}; and so on" for cut, words in messages.items()]
    assert f"Tokens: {'. '.join(parts)}." in text


def test_the_protocol_lists_the_looks(builder: StudyBuilder) -> None:
    plan = replace(builder.build(), looks=RecordedLooks(seed_counts=(2, 3), max_seeds=8))
    text = write_report(plan, builder.runs, builder.report).page.with_name("report.md").read_text()
    assert "Of up to 8 declared seeds, looks at the verdicts were taken with 2, 3." in text


def test_trials_of_other_code_versions_are_counted_and_their_contrasts_marked(
    builder: StudyBuilder,
) -> None:
    plan = builder.build()
    older = builder.fingerprint(0, masker="block", patchifier="squares")
    builder.edit(older, code={"commit": "fedcba9876543210", "dirty": False})
    caveats = write_report(plan, builder.runs, builder.report).caveats
    assert any("0123456789 (17 trials), fedcba9876 (1 trials)" in line for line in caveats)
    text = builder.report.joinpath("tables/contrasts.csv").read_text()
    marked = [line for line in text.splitlines() if "mixes versions of the code" in line]
    assert marked
    assert not [line for line in marked if "curriculum,random" in line]


def test_a_variant_in_no_contrast_is_a_caveat(builder: StudyBuilder) -> None:
    plan = builder.build()
    lone = {"masker": "block", "patchifier": "strips"}
    kept = [plan.baseline, lone]
    plan = change_trials(plan, lambda trial: trial if trial.levels in kept else None)
    caveats = write_report(plan, builder.runs, builder.report).caveats
    assert any(
        line.startswith("random, squares; block, strips appear in no contrast") for line in caveats
    )


@pytest.mark.parametrize(("level", "messages"), [(100.0, 1), (90.0, 0)])
def test_tasks_that_every_variant_solves_are_a_caveat(
    builder: StudyBuilder, level: float, messages: int
) -> None:
    builder.levels_score, builder.noise = lambda levels: level, 0.0
    caveats = write_report(builder.build(), builder.runs, builder.report).caveats
    assert sum("these tasks do not discriminate" in line for line in caveats) == messages


@pytest.mark.parametrize(
    ("noise", "text"),
    [
        (0.01, "score higher than every variant."),
        (8.0, "which the seeds do not show to be more than chance."),
    ],
)
def test_log_mel_statistics_are_called_better_only_if_a_test_shows_it(
    builder: StudyBuilder, noise: float, text: str
) -> None:
    builder.levels_score, builder.noise = lambda levels: 26.0, noise
    caveats = write_report(builder.build(), builder.runs, builder.report).caveats
    lines = [line for line in caveats if line.startswith("Plain log-mel statistics")]
    assert any(line.endswith(text) for line in lines)


def test_fallback_masks_are_a_caveat(builder: StudyBuilder) -> None:
    plan = builder.build()
    for seed in builder.seeds:
        forced = builder.fingerprint(seed, masker="block", patchifier="squares")
        record = json.loads((builder.runs / forced / "run.json").read_text())
        builder.edit(forced, metrics=record["metrics"] | {"fallback_fraction": 0.93})
    [caveat] = [
        line
        for line in write_report(plan, builder.runs, builder.report).caveats
        if "Fallback" in line
    ]
    assert "for 93 % of clips `block, squares` could not satisfy its settings." in caveat
    assert "random" not in caveat


def test_leaking_fallback_masks_are_one_caveat(builder: StudyBuilder) -> None:
    forced = {"masker": "block", "patchifier": "squares"}

    def overlapping(trial: TrialEntry) -> TrialEntry:
        share = 0.45 if trial.levels == forced else 0.0
        return change_facts(trial, overlap=share, forced_overlap=share)

    plan = change_trials(builder.build(), overlapping)
    for seed in builder.seeds:
        run = builder.fingerprint(seed, **forced)
        record = json.loads((builder.runs / run / "run.json").read_text())
        builder.edit(run, metrics=record["metrics"] | {"fallback_fraction": 0.93})
    summary = write_report(plan, builder.runs, builder.report)
    [caveat] = [line for line in summary.caveats if "Fallback" in line or "leakage" in line]
    assert caveat.startswith("block, squares: 45 % of context patches are also targets (leakage).")
    assert "for 93 % of clips `block, squares` could not satisfy its settings." in caveat
    [head] = [line for line in _masks(builder) if line.startswith("| masker")]
    assert [cell.strip() for cell in head.split("|")][-2] == "overlap"


def test_masks_without_overlap_have_no_column_for_it(builder: StudyBuilder) -> None:
    write_report(builder.build(), builder.runs, builder.report)
    assert not [line for line in _masks(builder) if "overlap" in line]


def _masks(builder: StudyBuilder) -> list[str]:
    """Returns the lines of the section on masks."""
    text = (builder.report / "report.md").read_text()
    return text.split("## Masks")[1].split("## ")[0].splitlines()


def test_a_single_seed_is_a_caveat(builder: StudyBuilder) -> None:
    builder.seeds, builder.levels_score = (0,), lambda levels: 26.0  # below log-mels
    summary = write_report(builder.build(), builder.runs, builder.report)
    assert {sentence.word for sentence in summary.sentences} == {"undecided"}
    assert any(caveat.startswith("There is only one seed") for caveat in summary.caveats)
    # one seed shows nothing, so nothing is said to be or not to be shown by it
    assert not [line for line in summary.caveats if "not show" in line]
    assert "nan" not in builder.report.joinpath("report.md").read_text().lower()


def test_a_part_whose_code_changed_between_runs_is_a_caveat(builder: StudyBuilder) -> None:
    plan = builder.build()
    for trial in plan.trials:
        builder.edit(trial.fingerprint, parts={"my_lab.Mine": "old"})
    assert not any(
        "my_lab" in line for line in write_report(plan, builder.runs, builder.report).caveats
    )
    builder.edit(plan.trials[0].fingerprint, parts={"my_lab.Mine": "new"})
    assert any(
        "`my_lab.Mine` has changed" in line
        for line in write_report(plan, builder.runs, builder.report).caveats
    )


def test_warnings_of_runs_are_caveats_one_of_each_kind(builder: StudyBuilder) -> None:
    plan = builder.build()
    slow = "attention is computed by the slower kernel `padded` (xformers: not installed)"
    for trial, step in zip(plan.trials, (3, 8), strict=False):
        memory = f"out of memory at step {step} (tried to allocate 2 GiB): 2 micro-batches"
        builder.edit(trial.fingerprint, warnings=[slow, memory], attention=["padded"])
    caveats = write_report(plan, builder.runs, builder.report).caveats
    assert f"Runs gave 2 warnings like this: {slow}." in caveats
    assert sum("out of memory" in line for line in caveats) == 1
    assert "Attention kernels: padded." in builder.report.joinpath("report.md").read_text()
