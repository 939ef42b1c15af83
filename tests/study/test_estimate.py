"""What a plan promises to see, from the spread that earlier results have."""

import math
from pathlib import Path

import pytest

from ablate.core.records.plan import StudyPlan
from ablate.study import estimate
from tests.plans import make_entry, make_plan
from tests.run_folders import write_score

KNN = {"type": "KNN"}


def plan(seeds: int) -> StudyPlan:
    trials = (
        make_entry(f"{level}{seed}", levels={"masker": level}, seed=seed)
        for seed in range(seeds)
        for level in "ab"
    )
    return make_plan(
        *trials,
        probes={"knn": KNN},
        factors={"masker": ("a", "b")},
        baseline={"masker": "a"},
    )


def scored(runs: Path, fingerprint: str, valid: float) -> None:
    write_score(runs / fingerprint, "speech", KNN, mean={"valid": valid, "test": 0})


def test_the_spread_is_that_of_paired_differences(tmp_path: Path) -> None:
    for seed, (one, other) in enumerate([(40, 41), (50, 53), (60, 65)]):
        scored(tmp_path, f"a{seed}", one)
        scored(tmp_path, f"b{seed}", other)
    assert estimate.compute_spread(plan(4), tmp_path) == pytest.approx(2.0)  # of 1, 3 and 5


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    scored(tmp_path, "a0", 40)
    scored(tmp_path, "b0", 41)
    assert estimate.compute_spread(plan(3), tmp_path) is None


def test_levels_that_are_not_compared_say_nothing(tmp_path: Path) -> None:
    for seed in range(3):
        scored(tmp_path, f"b{seed}", 40 + math.sin(seed))
    assert estimate.compute_spread(plan(3), tmp_path) is None
