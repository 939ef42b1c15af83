"""Levels that differ in the amount of audio are warned of, and no others."""

import pytest

from ablate.design.warnings import Shares, warnings


def variants(**shares):
    """Builds variants of two factors from `masker_patchifier=(context, targets)`."""
    return [
        Shares(
            levels=dict(zip(("masker", "patchifier"), name.split("_"), strict=True)),
            context=context,
            targets=targets,
        )
        for name, (context, targets) in shares.items()
    ]


def test_levels_that_differ_by_more_than_two_points_are_named():
    [warning] = warnings(variants(random_squares=(0.40, 0.60), block_squares=(0.43, 0.61)))
    assert warning == (
        "Levels of masker differ in their realised context (with squares): random 40 %, block 43 % "
        "of the grid. Part of a difference in score may be the amount of audio seen and not the "
        "shape of the mask."
    )


@pytest.mark.parametrize("context", [0.40, 0.41, 0.42, 0.38])
def test_up_to_two_points_pass(context):
    assert warnings(variants(a_x=(0.40, 0.5), b_x=(context, 0.5))) == []


def test_context_and_targets_are_warned_of_apart():
    context, targets = warnings(variants(a_x=(0.4, 0.5), b_x=(0.5, 0.3)))
    assert "realised context (with x): a 40 %, b 50 % of the grid" in context
    assert "realised targets (with x): a 50 %, b 30 % of the grid" in targets


def test_only_variants_that_differ_in_one_factor_are_compared():
    assert warnings(variants(a_x=(0.4, 0.5), b_y=(0.6, 0.5))) == []


def test_a_factor_is_warned_of_once_by_its_largest_difference():
    told = warnings(
        variants(a_x=(0.40, 0.5), b_x=(0.45, 0.5), a_y=(0.40, 0.5), b_y=(0.42, 0.5), c_x=(0.7, 0.5))
    )
    [masker] = [warning for warning in told if "Levels of masker" in warning]
    assert "context (with x): a 40 %, b 45 %, c 70 % of the grid" in masker


def test_of_very_many_levels_the_least_and_the_most_are_named():
    [warning] = warnings(variants(**{f"l{n}_x": (0.30 + n / 100, 0.5) for n in range(20)}))
    assert "context (with x): l0 30 %, l19 49 % of the grid" in warning


def test_a_masker_that_varies_with_its_batching_is_a_mask_still():
    zipped = [
        Shares(levels={"masker + batching": label}, context=share, targets=0.5)
        for label, share in (("random", 0.4), ("legacy", 0.2))
    ]
    [warning] = warnings(zipped)
    assert warning.endswith("and not the shape of the mask.")


def test_a_difference_between_patches_is_one_of_that_factor():
    [warning] = warnings(variants(a_x=(0.40, 0.5), a_y=(0.50, 0.5)))
    assert warning.startswith("Levels of patchifier differ")
    assert warning.endswith("and not the patchifier.")


def test_what_nobody_knows_is_not_warned_of():
    assert warnings(variants(a_x=(None, None), b_x=(0.4, 0.5))) == []
    assert warnings([]) == []
    assert warnings([Shares(levels={}, context=0.4, targets=0.5)]) == []
