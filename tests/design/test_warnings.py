"""Warnings about unequal visible shares, leakage and fallback masks; no study here has any leak."""

from pathlib import Path

import pytest

from ablate.config import loader
from ablate.design import factors, trials
from ablate.design.warnings import (
    MIN_FALLBACK,
    MIN_OVERLAP,
    MaskOverlap,
    MaskShares,
    code_warnings,
    head_width_warnings,
    overlap_warnings,
    share_warnings,
)
from ablate.mask_analysis.matching import remove_match, resolve_matches
from ablate.mask_analysis.realised_shares import compute_realised_shares
from ablate.model.masking import AbstractMasker
from ablate.parts import build
from ablate.worker.trial import Trial
from ablate.worker.units import convert_sizes

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.yaml"))


def variants(**shares):
    """Builds variants of two factors from `masker_patchifier=(context, targets)`."""
    return [
        MaskShares(
            levels=dict(zip(("masker", "patchifier"), name.split("_"), strict=True)),
            context=context,
            targets=targets,
        )
        for name, (context, targets) in shares.items()
    ]


def test_levels_that_differ_by_more_than_two_points_are_named():
    [warning] = share_warnings(variants(random_squares=(0.40, 0.60), block_squares=(0.43, 0.61)))
    assert warning == (
        "Levels of masker differ in their realised context (with squares): random 40 %, block 43 % "
        "of the grid. Part of a difference in score may be due to the amount of audio seen and not "
        "to the shape of the mask."
    )


@pytest.mark.parametrize("context", [0.40, 0.41, 0.42, 0.38])
def test_a_difference_of_up_to_two_points_is_not_reported(context):
    assert share_warnings(variants(a_x=(0.40, 0.5), b_x=(context, 0.5))) == []


def test_context_and_targets_are_reported_separately():
    context, targets = share_warnings(variants(a_x=(0.4, 0.5), b_x=(0.5, 0.3)))
    assert "realised context (with x): a 40 %, b 50 % of the grid" in context
    assert "realised targets (with x): a 50 %, b 30 % of the grid" in targets


def test_only_variants_that_differ_in_one_factor_are_compared():
    assert share_warnings(variants(a_x=(0.4, 0.5), b_y=(0.6, 0.5))) == []


def test_a_factor_is_reported_once_with_its_largest_difference():
    warnings = share_warnings(
        variants(a_x=(0.40, 0.5), b_x=(0.45, 0.5), a_y=(0.40, 0.5), b_y=(0.42, 0.5), c_x=(0.7, 0.5))
    )
    [masker] = [warning for warning in warnings if "Levels of masker" in warning]
    assert "context (with x): a 40 %, b 45 %, c 70 % of the grid" in masker


def test_of_many_levels_only_the_least_and_the_most_are_named():
    [warning] = share_warnings(variants(**{f"l{n}_x": (0.30 + n / 100, 0.5) for n in range(20)}))
    assert "context (with x): l0 30 %, l19 49 % of the grid" in warning


def test_a_masker_that_varies_with_its_batching_is_still_called_a_mask():
    zipped = [
        MaskShares(levels={"masker + batching": label}, context=share, targets=0.5)
        for label, share in (("random", 0.4), ("legacy", 0.2))
    ]
    [warning] = share_warnings(zipped)
    assert warning.endswith("and not to the shape of the mask.")


def test_a_difference_between_patchifiers_names_that_factor():
    [warning] = share_warnings(variants(a_x=(0.40, 0.5), a_y=(0.50, 0.5)))
    assert warning.startswith("Levels of patchifier differ")
    assert warning.endswith("and not to the patchifier.")


def test_unknown_shares_are_not_reported():
    assert share_warnings(variants(a_x=(None, None), b_x=(0.4, 0.5))) == []
    assert share_warnings([]) == []
    assert share_warnings([MaskShares(levels={}, context=0.4, targets=0.5)]) == []


def overlap(variant, overlap=0.0, forced=0.0, changed=0.0):
    return MaskOverlap(variant=variant, overlap=overlap, forced_overlap=forced, changed=changed)


def test_overlap_due_to_fallback_masks_is_called_leakage():
    assert overlap_warnings([overlap("random"), overlap("legacy, squares", 0.45, 0.45, 0.06)]) == [
        "legacy, squares: 45 % of context patches are also targets (leakage)."
    ]


def test_leakage_and_fallback_of_one_variant_share_a_line():
    variants = [overlap("legacy", 0.45, 0.45, 0.93), overlap("columns", changed=0.2)]
    both, fallback = overlap_warnings(variants)
    assert both.startswith("legacy: 45 % of context patches are also targets")
    assert "Fallback masks: for 93 % of clips `legacy` could not satisfy its settings." in both
    assert "columns" not in both
    assert "for 20 % of clips `columns`" in fallback


def test_overlap_that_a_masker_declares_is_not_called_leakage():
    [line] = overlap_warnings([overlap("all patches", 0.3)])
    assert "all patches, 30 % of the context" in line
    assert "as declared by the masker" in line
    assert "leakage" not in line


@pytest.mark.parametrize(
    "variant",
    [overlap("a", 0.01, 0.01, 0.1), overlap("b", None, None, None)],
    ids=["little", "unknown"],
)
def test_little_or_unknown_overlap_is_not_reported(variant):
    assert overlap_warnings([variant]) == []


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_no_study_has_leaking_or_fallback_masks(file):
    study = loader.load(file)
    for trial in trials.build_trials(study, factors.build_factors(study)):
        if trial.seed == study.seeds[0]:
            settings = convert_sizes(trial.settings)
            masker = settings["masker"]
            grid = build({**settings, "masker": remove_match(masker)}, expect=Trial).grid
            masker = build(resolve_matches(masker, grid)[0], expect=AbstractMasker)
            shares = compute_realised_shares(masker, grid)
            wrong = shares.overlap > MIN_OVERLAP or shares.changed > MIN_FALLBACK
            assert not wrong, (trial.variant, shares)


def test_parts_with_two_versions_of_their_code_are_named():
    assert code_warnings([{"lab.A": "1", "lab.B": "1"}, {"lab.A": "1"}]) == []
    [line] = code_warnings([{"lab.A": "1", "lab.B": "1"}, {"lab.A": "2"}])
    assert line.startswith("The code of `lab.A` has changed since some of the runs were made.")


def test_heads_of_a_width_that_no_fast_gpu_kernel_takes_are_named():
    narrow = {"encoder": {"type": "ViT", "dim": 36, "heads": 3}, "seed": 0, "mel": {}}
    usual = {"encoder": {"dim": 192, "heads": 3}, "predictor": {"dim": 96, "heads": 4}}
    assert head_width_warnings([("usual", usual)]) == []
    [warning] = head_width_warnings([("usual", usual), ("a", narrow), ("b", narrow)])
    assert "heads of 12 dimensions" in warning
    assert "It concerns a; b." in warning
