"""Masks that give answers away are told, and no study here has any."""

from pathlib import Path

import pytest

from ablate.config import loader
from ablate.design import factors, trials
from ablate.design.overlap_warnings import GUARDED, NOTABLE, Drawn, warnings
from ablate.mask_analysis.matching import remove_match, resolve_matches
from ablate.mask_analysis.statistics import realised_shares
from ablate.model.masking import AbstractMasker
from ablate.parts import build
from ablate.worker.trial import Trial
from ablate.worker.units import sized

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def drawn(variant, overlap=0.0, forced=0.0, changed=0.0):
    return Drawn(variant=variant, overlap=overlap, forced_overlap=forced, changed=changed)


def test_an_overlap_that_a_guard_made_is_said_to_give_answers_away():
    assert warnings([drawn("random"), drawn("legacy, squares", 0.45, 0.45, 0.06)]) == [
        "In legacy, squares 45 % of the context is also a target: these masks give answers away."
    ]


def test_overlap_and_guard_are_told_in_one_line_where_both_apply():
    both, guard = warnings([drawn("legacy", 0.45, 0.45, 0.93), drawn("columns", changed=0.2)])
    assert "In legacy 45 % of the context is also a target" in both
    assert "93 % of legacy." in both
    assert "columns" not in both
    assert "20 % of columns." in guard


def test_an_overlap_by_design_is_told_without_alarm():
    [line] = warnings([drawn("all patches", 0.3)])
    assert "30 % in all patches" in line
    assert "by design" in line
    assert "give answers away" not in line


@pytest.mark.parametrize(
    "variant", [drawn("a", 0.01, 0.01, 0.1), drawn("b", None, None, None)], ids=["little", "old"]
)
def test_little_and_what_nobody_knows_are_not_warned_of(variant):
    assert warnings([variant]) == []


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_no_study_has_masks_that_give_answers_away_or_are_a_guards(file):
    study = loader.load(file)
    for trial in trials.trials(study, factors.factors(study)):
        if trial.seed == study.seeds[0]:
            settings = sized(trial.settings)
            masker = settings["masker"]
            grid = build({**settings, "masker": remove_match(masker)}, expect=Trial).twin.grid
            masker = build(resolve_matches(masker, grid)[0], expect=AbstractMasker)
            found = realised_shares(masker, grid)
            gives_away = found.overlap > NOTABLE or found.changed > GUARDED
            assert not gives_away, (trial.variant, found)
