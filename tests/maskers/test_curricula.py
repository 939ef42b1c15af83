"""Curricula and scheduled settings change with the progress of training."""

import math

import pytest

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from maskers import (
    Clusters,
    Curriculum,
    Guard,
    MultiBlock,
    Random,
    ScheduledSetting,
    TimeFrequency,
    Tube,
)
from maskers.curricula import compute_share

EASY, HARD = Random(ratio=0.25), Random(ratio=0.75)


def compute_end_share(curriculum, progress):
    """Computes the share of samples that were drawn from the end."""
    mask = curriculum.draw(Clips.unpadded(Grid(4, 8), 4000, progress=progress), generator(0, "x"))
    return (mask.context.sum(dim=1) == 8).float().mean().item()


@pytest.mark.parametrize("progress", [0.0, 0.1, 0.25, 0.5, 1.0])
def test_the_share_of_the_end_follows_the_square_root_competence(progress):
    expected = math.sqrt(progress * (1 - 0.01**2) + 0.01**2)
    assert compute_end_share(Curriculum(start=EASY, end=HARD), progress) == pytest.approx(
        expected, abs=0.03
    )


def test_the_inverse_curriculum_is_the_curriculum_with_its_ends_exchanged():
    for progress in (0.0, 0.3, 1.0):
        inverse = compute_end_share(Curriculum(start=EASY, end=HARD, schedule="inverse"), progress)
        swapped = 1 - compute_end_share(Curriculum(start=EASY, end=HARD), progress)
        assert inverse == pytest.approx(swapped, abs=0.03)


@pytest.mark.parametrize("competence", [0.0, 0.01, 0.5, 0.9])
def test_the_constant_mixture_shows_as_much_of_the_end_as_the_curriculum_does(competence):
    moments = [(step + 0.5) / 10_000 for step in range(10_000)]
    mean = sum(compute_share("sqrt", moment, competence) for moment in moments) / len(moments)
    assert compute_share("constant", 0.0, competence) == pytest.approx(mean, abs=1e-4)
    assert compute_share("constant", 1.0, competence) == compute_share("constant", 0.0, competence)


@pytest.mark.parametrize("competence", [0.0, 0.01, 0.5])
def test_the_reversed_curriculum_mixes_as_much_in_the_opposite_order(competence):
    steps = [step / 100 for step in range(101)]
    forward = [compute_share("sqrt", step, competence) for step in steps]
    backward = [compute_share("reversed", step, competence) for step in steps]
    assert backward == pytest.approx(forward[::-1])
    assert sum(compute_share("inverse", step, competence) for step in steps) < 0.6 * sum(forward)


@pytest.mark.parametrize("schedule", ["linear", "cosine", "step"])
def test_other_schedules_go_from_the_start_to_the_end(schedule):
    assert compute_share(schedule, 0.0) == 0
    assert compute_share(schedule, 1.0) == 1
    steps = [compute_share(schedule, step / 100) for step in range(101)]
    assert steps == sorted(steps)


def test_a_phase_per_batch_is_shared_by_its_samples_and_declared_as_coupling():
    curriculum = Curriculum(start=EASY, end=HARD, per="batch")
    assert curriculum.promises.coupled
    seen = set()
    for seed in range(20):
        mask = curriculum.draw(Clips.unpadded(Grid(4, 8), 16, progress=0.25), generator(seed, "x"))
        counts = set(mask.context.sum(dim=1).tolist())
        assert len(counts) == 1
        seen |= counts
    assert seen == {8, 24}


def test_samples_with_fewer_blocks_leave_the_rest_of_the_axis_empty():
    masker = Curriculum(start=MultiBlock(), end=Random())
    mask = masker.draw(Clips.unpadded(Grid(4, 8), 64, progress=0.25), generator(0, "x"))
    blocks = mask.targets.any(dim=2).sum(dim=1)
    assert set(blocks.tolist()) == {1, 4}


@pytest.mark.parametrize(("progress", "visible"), [(0.0, 24), (0.5, 16), (1.0, 8)])
def test_a_setting_varies_with_progress(progress, visible):
    masker = ScheduledSetting(masker=Random(), setting="ratio", start=0.25, end=0.75)
    mask = masker.draw(Clips.unpadded(Grid(4, 8), 4, progress=progress), generator(0, "x"))
    assert mask.context.sum(dim=1).tolist() == [visible] * 4


def test_an_integer_stays_an_integer_and_a_pair_stays_a_pair():
    counts = ScheduledSetting(masker=MultiBlock(), setting="num_targets", start=1, end=4)
    assert [counts.at(p).num_targets for p in (0.0, 0.5, 1.0)] == [1, 2, 4]
    areas = ScheduledSetting(
        masker=MultiBlock(), setting="target_area", start=(0.1, 0.2), end=(0.2, 0.24)
    )
    assert areas.at(0.5).target_area == pytest.approx((0.15, 0.22))


@pytest.mark.parametrize("progress", [0.0, 0.3, 0.5, 1.0])
@pytest.mark.parametrize(
    ("masker", "setting", "start", "end"),
    [
        (Clusters(), "side", (2, 3), (4, 6)),
        (Tube(), "length", 2, 6),  # a whole number or unset
    ],
)
def test_integers_stay_integers_in_a_pair_and_in_an_optional_setting(
    masker, setting, start, end, progress
):
    varied = ScheduledSetting(masker=masker, setting=setting, start=start, end=end)
    numbers = getattr(varied.at(progress), setting)
    assert all(isinstance(number, int) for number in (numbers if start == (2, 3) else [numbers]))
    mask = varied.draw(Clips.unpadded(Grid(8, 16), 4, progress=progress), generator(0, "x"))
    assert mask.target_union.any(dim=1).all()


def test_a_share_written_as_an_integer_is_not_rounded():
    guard = Guard(masker=Random(), min_context=0)
    varied = ScheduledSetting(masker=guard, setting="min_context", start=0, end=1)
    assert varied.at(0.25).min_context == 0.25


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Curriculum(start=EASY, end=HARD, competence=2.0), "`competence` must lie in"),
        (
            lambda: ScheduledSetting(masker=Random(), setting="ratoi", start=0.2, end=0.4),
            "`setting` 'ratoi' is not a setting of the masker; it has ratio",
        ),
        (
            lambda: ScheduledSetting(masker=MultiBlock(), setting="num_targets", start=4, end=6),
            "could hide the whole clip",
        ),
        (
            lambda: ScheduledSetting(masker=Random(), setting="ratio", start=0.2, end=(0.2, 0.4)),
            "must both be numbers or both be pairs",
        ),
        (
            lambda: ScheduledSetting(masker=Clusters(), setting="side", start=2, end=4),
            "`side` is a pair; got `start` 2 and `end` 4",
        ),
        (
            lambda: ScheduledSetting(masker=Tube(), setting="length", start=(2, 3), end=(4, 6)),
            "`length` is a number; got",
        ),
        (
            lambda: ScheduledSetting(masker=Clusters(), setting="legacy", start=0, end=1),
            "`setting` 'legacy' is neither a number nor a pair of numbers",
        ),
    ],
)
def test_invalid_curricula_are_errors(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_jepas_curriculum_is_expressible():
    late = TimeFrequency(axes="both")
    curriculum = Curriculum(start=MultiBlock(), end=late, per="batch")
    assert curriculum.promises.uneven
