"""Causal encoders see only what comes before, and next patches are predicted from it."""

from dataclasses import replace

import pytest
import torch

import maskers
from ablate.core.random import generator
from ablate.model.attention import attend
from ablate.model.next_patch import NextPatch, PatchEmbedding
from ablate.model.packing import pack
from ablate.model.segments import Segments
from ablate.model.targets import Pixels
from ablate.model.vit import ViT

CAUSAL = ViT(dim=16, layers=2, heads=2, causal=True)


@pytest.mark.parametrize("kernel", ["segments", "padded"])
@pytest.mark.parametrize("lengths", [(5, 5), (1, 7, 3), (40, 33)])
def test_a_token_of_a_causal_segment_attends_as_if_it_were_the_last(lengths, kernel):
    shape = (3, sum(lengths), 2, 4)
    parts = torch.randn(shape, generator=generator(0, "parts"))
    attended = attend(*parts, Segments(lengths, causal=True), kernel=kernel)
    first = 0
    for length in lengths:
        for end in range(first + 1, first + length + 1):
            alone = attend(*parts[:, first:end], Segments((end - first,)), kernel="padded")
            assert torch.allclose(attended[end - 1], alone[-1], atol=1e-6)
        first += length


def list_in_time(models, valid):
    """Lists the patches of a clip by column, then row."""
    order = [row * models.grid.time + column for column in range(8) for row in range(4)]
    return [patch for patch in order if valid[patch]]


@pytest.mark.parametrize("extra", [{}, {"registers": 2}, {"norm": "post"}])
def test_later_patches_change_no_feature_of_a_causal_encoder(models, extra):
    settings = replace(CAUSAL, **extra)
    jepa, batch = models.jepa(encoder=settings), models.batch()
    features = jepa.encoder(batch.patches, pack(batch.valid))
    rows = batch.valid.flatten().cumsum(0).view_as(batch.valid) - 1
    for clip, valid in enumerate(batch.valid):
        places = list_in_time(models, valid)
        for number, place in enumerate(places, start=1):
            member = torch.zeros(1, models.grid.size, dtype=torch.bool)
            member[0, places[:number]] = True
            alone = jepa.encoder(batch.patches[clip : clip + 1], pack(member))
            row = int(member[0, :place].sum())
            for all_layers, one in zip(features.layers, alone.layers, strict=True):
                assert torch.allclose(all_layers[rows[clip, place]], one[row], atol=1e-5)


def test_each_patch_is_predicted_from_those_before_it(models):
    jepa = models.jepa(PatchEmbedding(), NextPatch(), CAUSAL)
    batch = models.batch(maskers.EveryPatch())
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    rows = batch.mask.target_union.flatten().cumsum(0).view_as(batch.valid) - 1
    for clip, valid in enumerate(batch.valid):
        places = list_in_time(models, valid)
        for number, place in enumerate(places[1:], start=1):
            member = torch.zeros(1, models.grid.size, dtype=torch.bool)
            member[0, places[:number]] = True
            alone = jepa.encoder(batch.patches[clip : clip + 1], pack(member)).tokens
            expected = alone[int(member[0, : places[number - 1]].sum())]
            row = rows[clip, place]
            assert torch.allclose(prediction.predicted[row], expected, atol=1e-5)
            embedded = jepa.encoder.project(batch.patches[clip, place : place + 1])[0]
            assert torch.allclose(prediction.target[row], embedded, atol=1e-6)
    assert not prediction.target.requires_grad


def test_next_patches_are_predicted_by_layers_if_the_target_has_another_width(models):
    jepa = models.jepa(Pixels(), NextPatch(layers=2, dim=8), CAUSAL)
    batch = models.batch(maskers.EveryPatch())
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    assert prediction.predicted.shape == prediction.target.shape
    with pytest.raises(ValueError, match="set `layers: 1` or more"):
        models.jepa(Pixels(), NextPatch(), CAUSAL)


def test_a_target_without_a_visible_patch_before_it_is_an_error(models):
    jepa = models.jepa(PatchEmbedding(), NextPatch(), CAUSAL)
    batch = models.batch(maskers.Random(ratio=0.5))
    with pytest.raises(ValueError, match="no visible patch before it"):
        jepa(batch.patches, batch.mask, batch.valid)


def test_the_encoder_that_is_evaluated_is_a_moving_average(models):
    jepa = models.jepa(PatchEmbedding(), NextPatch(), CAUSAL)
    before = jepa.target.encoder.project.weight.clone()
    jepa.update_target(0.75)
    expected = 0.75 * before + 0.25 * jepa.encoder.project.weight
    assert torch.allclose(jepa.probed_encoder.project.weight, expected)


def test_causal_segments_count_pairs_up_to_the_diagonal():
    segments = Segments((3, 5), causal=True)
    allowed = segments.allowed.squeeze(1) & segments.real.unsqueeze(2)
    assert segments.num_pairs == int(allowed.sum()) == 6 + 15


def test_causal_segments_cannot_be_padded():
    with pytest.raises(ValueError, match="cannot have `filler`"):
        Segments((2, 2), filler=torch.zeros(4, dtype=torch.bool), causal=True)


def test_attention_of_a_causal_encoder_is_that_of_all_its_tokens(models):
    encoder = models.jepa(encoder=replace(CAUSAL, registers=1)).encoder
    batch = models.batch()
    received = encoder.measure_attention(batch.patches, pack(batch.valid))
    assert (received > 0).all()
    assert received.sum() < len(batch.valid)  # the rest is received by the registers


def test_a_causal_encoder_has_no_summary():
    with pytest.raises(ValueError, match=r"leave out `summary`, or use `registers`"):
        replace(CAUSAL, summary=True)
