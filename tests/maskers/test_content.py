"""Content-aware masks choose patches by their values or features as declared."""

from dataclasses import replace
from itertools import permutations

import pytest
import torch

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from maskers.content import Energy, Informed, SilenceExcluded, VarianceWeighted, _add_hints
from maskers.unstructured import Random

GRID = Grid(8, 64)


def draw(masker, content, grid=None, **fields):
    clips = Clips.unpadded(grid or Grid(1, content.shape[1]), len(content), content=content)
    return masker.draw(replace(clips, **fields), generator(0, "x"))


def build_patches(weights):
    """Builds patches whose mean absolute deviation is the weight, (batch, patches, 2)."""
    return torch.stack([weights, -weights], dim=-1) + 5.0


@pytest.mark.parametrize("masker", [VarianceWeighted(), Energy(), Informed()], ids=str)
def test_missing_content_is_an_error_with_the_name_of_the_masker(masker):
    with pytest.raises(
        ValueError, match=f"`{type(masker).__name__}` needs {masker.promises.needs} as"
    ):
        masker.draw(Clips.unpadded(GRID, 2), generator(0, "x"))


def test_silence_cannot_be_excluded_without_content():
    with pytest.raises(ValueError, match="`SilenceExcluded` needs patches as `content`"):
        SilenceExcluded(masker=Random()).draw(Clips.unpadded(GRID, 2), generator(0, "x"))


# simulated independently: weights log-normal with sigma 1, 70 % hidden
@pytest.mark.parametrize(("hint", "relative"), [(0, 0.36), (0.2, 0.65), (0.5, 0.85), (0.8, 0.95)])
def test_hints_reduce_the_bias_towards_visible_patches_of_low_weight(hint, relative):
    weights = torch.randn(2000, 512, generator=generator(1, "x")).exp()
    mask = draw(VarianceWeighted(ratio=0.7, hint_ratio=hint), build_patches(weights))
    visible = weights[mask.context].mean() / weights.mean()
    assert visible == pytest.approx(relative, abs=0.015)


def test_half_of_the_hints_are_hidden_again():
    """At a ratio of 0.7 and hints of 0.5 it is 54 %, as simulated independently."""
    valid = torch.ones(500, 1000, dtype=torch.bool)
    before = torch.arange(1000).expand(500, -1) < 700
    after = _add_hints(before, 0.5, valid=valid, generator=generator(0, "x"))
    assert (after.sum(dim=1) == 700).all()
    kept, revealed = 350, 350
    again = ((before & after).sum(dim=1) - kept).float().mean() / revealed
    assert again == pytest.approx(0.54, abs=0.01)


def test_patches_are_drawn_one_after_another_in_proportion_to_their_weight():
    """Compares with the probability of each hidden pair, enumerated over its two orders."""
    weights = torch.tensor([1.0, 2.0, 3.0, 6.0])
    content = build_patches(weights.expand(40_000, -1))
    hidden = ~draw(VarianceWeighted(ratio=0.5), content).context
    for pair in ((0, 1), (0, 3), (1, 2), (2, 3)):
        expected = sum(
            weights[a] / 12 * weights[b] / (12 - weights[a]) for a, b in permutations(pair)
        )
        drawn = hidden[:, list(pair)].all(dim=1).float().mean()
        assert drawn == pytest.approx(expected.item(), abs=0.01)


def test_top_selection_hides_the_patches_of_greatest_weight():
    weights = torch.rand(20, 64, generator=generator(1, "x"))
    mask = draw(VarianceWeighted(ratio=0.75, selection="top"), build_patches(weights))
    lightest_hidden = weights.masked_fill(mask.context, 2.0).amin(dim=1)
    heaviest_seen = weights.masked_fill(~mask.context, -1.0).amax(dim=1)
    assert (lightest_hidden > heaviest_seen).all()
    assert (mask.context.sum(dim=1) == 16).all()


def test_a_click_weighs_more_in_variance_than_in_absolute_deviation():
    click, hum = torch.zeros(16), torch.tensor([1.0, -1.0]).repeat(8)
    click[0] = 6.0
    content = torch.stack([click, hum]).expand(5000, -1, -1)
    hidden = [
        (~draw(VarianceWeighted(ratio=0.5, measure=measure), content).context)[:, 0].float().mean()
        for measure in ("mad", "variance")
    ]
    mad, variance = 2 * (6 / 16) * (15 / 16), 36 / 16 * (15 / 16)
    assert hidden[0] == pytest.approx(mad / (mad + 1), abs=0.02)
    assert hidden[1] == pytest.approx(variance / (variance + 1), abs=0.02)


@pytest.mark.parametrize(
    "masker",
    [
        VarianceWeighted(),
        VarianceWeighted(selection="top"),
        VarianceWeighted(hint_ratio=1.0),
        Energy(temperature=-3.0),
        Informed(hint_ratio=0.0),
    ],
    ids=str,
)
def test_equal_patches_are_hidden_equally_often(masker):
    mask = draw(masker, torch.full((4000, 32, 4), -7.0))
    share = mask.target_union.float().mean(dim=0)
    assert share.min() > 0.65
    assert share.max() < 0.73


def test_a_hint_ratio_of_one_is_uniform():
    weights = torch.randn(64, generator=generator(1, "x")).exp().expand(8000, -1)
    hidden = (
        draw(VarianceWeighted(hint_ratio=1.0), build_patches(weights))
        .target_union.float()
        .mean(dim=0)
    )
    assert hidden.min() > 0.66
    assert hidden.max() < 0.74


@pytest.mark.parametrize(
    "masker", [VarianceWeighted(), Energy(temperature=3.0), Informed()], ids=str
)
def test_content_in_the_padding_changes_no_mask(masker):
    content = torch.rand(50, 64, 8, generator=generator(1, "x"))
    valid = torch.arange(64).expand(50, -1) < 40
    loud = torch.where(valid.unsqueeze(-1), content, 1e3 * content)
    first, second = (draw(masker, each, valid=valid) for each in (content, loud))
    assert torch.equal(first.context, second.context)
    assert not (first.target_union & ~valid).any()


@pytest.mark.parametrize(
    ("temperature", "low", "high"), [(2.0, 0.9, 1.0), (0.0, 0.68, 0.72), (-2.0, 0.3, 0.5)]
)
def test_temperature_decides_whether_the_loud_half_is_hidden(temperature, low, high):
    content = torch.zeros(500, 64, 4)
    content[:, ::2] = 2.0
    hidden = draw(Energy(temperature=temperature), content).target_union
    assert low <= hidden[:, ::2].float().mean() <= high


def test_a_louder_recording_has_the_same_mask():
    content = torch.randn(50, 64, 4, generator=generator(1, "x"))
    first, second = (draw(Energy(temperature=1.5), each) for each in (content, content + 3.0))
    assert torch.equal(first.context, second.context)


def draw_half_silent(batch=200):
    content = torch.randn(batch, 64, 4, generator=generator(1, "x")) * 0.1
    content[:, 32:] -= 5.0
    return content


def test_no_silent_patch_is_a_target_and_the_context_stays():
    inner, content = Random(ratio=0.6), draw_half_silent()
    mask = draw(SilenceExcluded(masker=inner, below=3.0), content)
    plain = draw(inner, content)
    assert torch.equal(mask.context, plain.context)
    assert not mask.target_union[:, 32:].any()
    assert torch.equal(mask.target_union[:, :32], plain.target_union[:, :32])


def test_a_sample_that_would_lose_all_targets_keeps_them_as_a_fallback():
    content = draw_half_silent(400)
    content[:, 1:32] -= 5.0  # a single patch is not silent
    mask = draw(SilenceExcluded(masker=Random(ratio=0.5)), content)
    seen = mask.context[:, 0]
    assert torch.equal(mask.fallback, seen)
    assert (mask.target_union.sum(dim=1) == torch.where(seen, 32, 1)).all()


def test_padding_is_never_the_loudest():
    content = draw_half_silent()
    content[:, 48:] = 100.0
    valid = torch.arange(64).expand(200, -1) < 48
    mask = draw(SilenceExcluded(masker=Random(ratio=0.6)), content, valid=valid)
    assert mask.target_union[:, :32].any(dim=1).all()
    assert not mask.target_union[:, 32:].any()


def test_silence_is_measured_on_patches_so_a_masker_of_features_is_an_error():
    with pytest.raises(ValueError, match="silence is measured on patches"):
        SilenceExcluded(masker=Informed())


def draw_two_kinds(batch=50):
    """Draws two kinds of patches, and every fourth patch unlike either kind."""
    rng = generator(1, "x")
    kinds = torch.zeros(2, 16)
    kinds[0, 0], kinds[1, 1] = 4.0, -4.0
    content = kinds.repeat(32, 1) + 0.1 * torch.randn(batch, 64, 16, generator=rng)
    content[:, ::4] = 0.5 * torch.randn(batch, 16, 16, generator=rng)
    return content


def test_informed_masks_hide_patches_unlike_both_centres():
    mask = draw(Informed(ratio=0.25, hint_ratio=0.0), draw_two_kinds())
    is_unlike = torch.arange(64) % 4 == 0
    assert mask.target_union[:, is_unlike].float().mean() > 0.95


def test_informed_masks_agree_with_a_full_decomposition():
    features = torch.randn(40, 64, 12, generator=generator(1, "x")) * torch.logspace(0, -1, 12)
    mask = draw(Informed(ratio=0.5, hint_ratio=0.0), features)
    agreed = []
    for sample, context in zip(features, mask.context, strict=True):
        centred = sample - sample.mean(dim=0)
        first = torch.linalg.svd(centred, full_matrices=False).Vh[0]
        side = centred @ first > 0
        centres = torch.stack([sample[side].mean(dim=0), sample[~side].mean(dim=0)])
        likeness = torch.cosine_similarity(sample.unsqueeze(1), centres, dim=-1).amax(dim=1)
        expected = torch.zeros(64, dtype=torch.bool)
        expected[likeness.topk(32).indices] = True
        agreed.append((expected == context).float().mean())
    assert torch.stack(agreed).mean() > 0.97


def test_informed_masks_of_a_padded_clip_are_those_of_the_clip_alone():
    features = torch.randn(40, 64, 12, generator=generator(1, "x")) * torch.logspace(0, -1, 12)
    features[:, :, 11] += 0.7
    valid = torch.arange(64).expand(40, -1) < 40
    masker = Informed(ratio=0.5, hint_ratio=0.0)
    padded = draw(masker, features, valid=valid)
    alone = draw(masker, features[:, :40])
    assert (padded.context[:, :40] == alone.context).float().mean() > 0.99
