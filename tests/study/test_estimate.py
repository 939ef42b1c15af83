"""The standard deviation that a plan expects, computed from earlier results."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from ablate.config.sections import Confirm
from ablate.core.records.plan import RecordedLooks, StudyPlan
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


@pytest.mark.parametrize(("seeds", "expected"), [(3, "27 % of studies; 6 seeds"), (6, None)])
def test_a_confirmation_with_too_few_seeds_is_warned_of(seeds: int, expected: str | None) -> None:
    lines = estimate.format_confirmation_power(Confirm(top=2, seeds=seeds), plan(3))
    assert len(lines) == (expected is not None)
    assert all(str(expected) in line for line in lines)


def test_a_plan_with_fixed_seeds_names_the_declared_way(tmp_path: Path) -> None:
    [fixed] = [
        line for line in estimate._describe_power(plan(3), tmp_path) if "number of seeds" in line
    ]
    assert "`seeds: {start: 3, max: 8}`" in fixed
    looks = RecordedLooks(seed_counts=(3,), max_seeds=8)
    growing = estimate._describe_power(replace(plan(3), looks=looks), tmp_path)
    assert not any("number of seeds" in line for line in growing)
