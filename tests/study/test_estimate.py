"""The standard deviation that a plan expects, computed from earlier results."""

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


def write_valid_score(runs: Path, fingerprint: str, valid: float) -> None:
    write_score(runs / fingerprint, "speech", KNN, mean={"valid": valid, "test": 0})


def test_the_spread_is_the_deviation_of_paired_differences(tmp_path: Path) -> None:
    for seed, (one, other) in enumerate([(40, 41), (50, 53), (60, 65)]):
        write_valid_score(tmp_path, f"a{seed}", one)
        write_valid_score(tmp_path, f"b{seed}", other)
    assert estimate.compute_spread(plan(4), tmp_path) == pytest.approx(2.0)  # differences: 1, 3, 5


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    write_valid_score(tmp_path, "a0", 40)
    write_valid_score(tmp_path, "b0", 41)
    assert estimate.compute_spread(plan(3), tmp_path) is None


def test_levels_without_a_baseline_score_give_no_spread(tmp_path: Path) -> None:
    for seed in range(3):
        write_valid_score(tmp_path, f"b{seed}", 40 + math.sin(seed))
    assert estimate.compute_spread(plan(3), tmp_path) is None
