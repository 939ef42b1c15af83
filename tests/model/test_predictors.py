"""Predictors: which tokens they see, and independence of samples within a batch."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.codebook import Codebook
from ablate.model.context_encoding import input_packing
from ablate.model.convolutional import Convolutional
from ablate.model.cross_attention import CrossAttention
from ablate.model.masking import Clips, Mask
from ablate.model.objectives import L2, CrossEntropy
from ablate.model.packing import pack
from ablate.model.per_token import PerToken
from ablate.model.predictor import Joint, PerTarget
from ablate.model.targets import Pixels, Teacher
from ablate.model.vit import ViT

WIDTH = {"dim": 8, "layers": 2, "heads": 2}
PREDICTORS = {
    "joint": Joint(**WIDTH),
    "joint, zero": Joint(**WIDTH, mask_token="zero"),
    "joint, noise": Joint(**WIDTH, mask_token="noise"),
    "joint, post-norm": Joint(**WIDTH, norm="post"),
    "per target": PerTarget(**WIDTH),
    "per target, post-norm": PerTarget(**WIDTH, norm="post"),
    "cross attention": CrossAttention(**WIDTH),
    "cross attention, noise": CrossAttention(**WIDTH, mask_token="noise"),
    "convolutional": Convolutional(dim=8, layers=2, groups=4),
    "convolutional, learned": Convolutional(dim=8, layers=2, groups=4, mask_token="learned"),
    "linear": PerToken(),
    "perceptron": PerToken(layers=3, dim=12),
}
TARGETS = {
    "teacher": Teacher(),
    "teacher of targets": Teacher(input="targets", layers="all", normalise="instance"),
    "pixels": Pixels(),
    "codebook": Codebook(clusters=4, points=50),
    "codebook of features": Codebook(clusters=4, points=50, of="features"),
}
DROP = ViT(dim=16, layers=2, heads=2)
REPLACE = ViT(dim=16, layers=2, heads=2, hidden="replace")


def encoders(predictor):
    return (REPLACE,) if isinstance(predictor, PerToken) else (DROP, REPLACE)


PAIRS = [
    pytest.param(predictor, encoder, id=f"{name}-{encoder.hidden}")
    for name, predictor in PREDICTORS.items()
    for encoder in encoders(predictor)
]


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
@pytest.mark.parametrize(("predictor", "encoder"), PAIRS)
def test_gradients_reach_every_trainable_weight_and_nothing_else(
    models, target, predictor, encoder
):
    jepa, batch = models.jepa(target, predictor, encoder), models.batch()
    objective = CrossEntropy() if target.discrete else L2()
    jepa(batch.patches, batch.mask, batch.valid).loss(objective).backward()
    for name, parameter in jepa.named_parameters():
        if name.startswith("target."):
            assert not parameter.requires_grad, name
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None, name
            assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize(("predictor", "encoder"), PAIRS)
def test_a_batch_equals_the_loop_over_its_samples(models, predictor, encoder):
    jepa, batch = models.jepa(Teacher(), predictor, encoder), models.batch()
    together = jepa(batch.patches, batch.mask, batch.valid)
    together.loss(L2()).backward()
    gradients = [p.grad.clone() for p in jepa.parameters() if p.requires_grad]
    jepa.zero_grad()
    alone = [jepa(*batch.select_sample(sample)) for sample in range(models.clips)]
    loss = torch.stack([prediction.loss(L2()) for prediction in alone]).mean()
    loss.backward()
    rows = torch.cat([prediction.predicted for prediction in alone])
    assert torch.allclose(together.predicted, rows, atol=1e-5)
    for actual, reference in zip(
        gradients, (p for p in jepa.parameters() if p.requires_grad), strict=True
    ):
        assert torch.allclose(actual, reference.grad, atol=1e-5)


@pytest.mark.parametrize(
    "predictor", [p for p in PREDICTORS.values() if not isinstance(p, PerToken)]
)
def test_padding_predicts_the_same_as_packing(models, predictor):
    jepa, batch = models.jepa(Teacher(), predictor), models.batch()
    packed, padded = (
        jepa(batch.patches, batch.mask, batch.valid, batching).predicted
        for batching in ("pack", "pad")
    )
    assert torch.allclose(packed, padded, atol=1e-5)


@pytest.mark.parametrize(
    "predictor", [p for p in PREDICTORS.values() if not isinstance(p, PerToken)]
)
def test_the_residual_stream_is_float32_under_autocast(models, predictor):
    jepa, batch, summed = models.jepa(Teacher(), predictor), models.batch(), []
    jepa.predictor.widen.register_forward_pre_hook(lambda _, inputs: summed.extend(inputs))
    with torch.autocast("cpu", torch.bfloat16):
        jepa(batch.patches, batch.mask, batch.valid)
    assert [tokens.dtype for tokens in summed] == [torch.float32]


@pytest.mark.parametrize(("predictor", "encoder"), PAIRS)
def test_several_masks_of_a_clip_equal_as_many_clips(models, predictor, encoder):
    masker = maskers.MultiMask(maskers=(maskers.MultiBlock(),), times=3)
    jepa, batch = models.jepa(Teacher(input="targets"), predictor, encoder), models.batch(masker)
    once = jepa(batch.patches, batch.mask, batch.valid)
    often = jepa(
        batch.patches.repeat_interleave(3, dim=0),
        batch.mask,
        batch.valid.repeat_interleave(3, dim=0),
    )
    assert torch.allclose(once.predicted, often.predicted, atol=1e-5)
    assert torch.allclose(once.target, often.target, atol=1e-5)


@pytest.mark.parametrize(("predictor", "encoder"), PAIRS)
def test_predictions_do_not_depend_on_hidden_patches(models, predictor, encoder):
    jepa, batch = models.jepa(Teacher(), predictor, encoder), models.batch()
    before = jepa(batch.patches, batch.mask, batch.valid).predicted
    without_hidden = torch.where(batch.mask.context.unsqueeze(-1), batch.patches, 1e6)
    assert torch.equal(before, jepa(without_hidden, batch.mask, batch.valid).predicted)


def test_blocks_of_a_per_target_predictor_do_not_see_each_other(models):
    jepa, batch = models.jepa(Teacher(), PerTarget(**WIDTH)), models.batch()
    together = jepa(batch.patches, batch.mask, batch.valid)
    by_block = torch.split(together.predicted, together.query.blocks.segments.lengths)
    where = batch.mask.targets.any(dim=-1).nonzero().tolist()
    assert len(by_block) == len(where)
    for predicted, (sample, block) in zip(by_block, where, strict=True):
        patches, mask, valid = batch.select_sample(sample)
        alone = jepa(patches, Mask(mask.context, mask.targets[:, block : block + 1]), valid)
        assert torch.allclose(predicted, alone.predicted, atol=1e-5)


@pytest.mark.parametrize("batching", ["pack", "pad"])
def test_the_masks_of_a_clip_alternate_between_the_mask_tokens(models, batching):
    masker = maskers.MultiMask(maskers=(maskers.MultiBlock(),), times=2)
    batch = models.batch(masker)
    jepa = models.jepa(Teacher(), Joint(**WIDTH, num_mask_tokens=2))
    predicted = jepa(batch.patches, batch.mask, batch.valid, batching).predicted
    owner = pack(batch.mask.target_union).owner
    for token in range(2):
        single = models.jepa(Teacher(), Joint(**WIDTH))
        single.predictor.mask_embedding.data = jepa.predictor.mask_embedding.data[token]
        expected = single(batch.patches, batch.mask, batch.valid, batching).predicted
        same = owner % 2 == token
        assert torch.allclose(predicted[same], expected[same], atol=1e-5)
        assert not torch.allclose(predicted[~same], expected[~same], atol=1e-5)


@pytest.mark.parametrize("times", [1, 3])
def test_packings_are_computed_once_per_step(models, times):
    masker = maskers.MultiMask(maskers=(maskers.MultiBlock(),), times=times)
    jepa, batch = models.jepa(Teacher(), PerTarget(**WIDTH), REPLACE), models.batch(masker)
    query = jepa(batch.patches, batch.mask, batch.valid).query
    one, other = (input_packing(jepa.encoder, query.context, query) for _ in range(2))
    assert one is other
    assert torch.equal(one.index, pack(query.sample_valid).index)
    assert query.repeated_context is query.repeated_context


def test_every_block_belongs_to_its_own_sample(models):
    jepa, batch = models.jepa(Teacher(), PerTarget(**WIDTH)), models.batch()
    blocks = jepa(batch.patches, batch.mask, batch.valid).query.blocks
    samples = batch.mask.targets.any(dim=-1).nonzero()[:, 0]
    lengths = torch.tensor(blocks.segments.lengths)
    assert torch.equal(blocks.owner, samples.repeat_interleave(lengths))


@pytest.mark.parametrize("name", ["joint", "cross attention", "convolutional, learned"])
def test_noise_mask_tokens_change_every_step_and_learned_ones_do_not(models, name):
    for token, same in (("learned", True), ("noise", False)):
        settings = replace(PREDICTORS[name], mask_token=token)
        jepa, batch = models.jepa(Teacher(), settings), models.batch()
        one, other = (
            jepa(batch.patches, batch.mask, batch.valid, rng=StepRandom(0, step)).predicted
            for step in (1, 2)
        )
        assert torch.equal(one, other) is same


def test_targets_of_a_joint_predictor_attend_to_each_other(models):
    jepa, batch = models.jepa(Teacher(), Joint(**WIDTH)), models.batch()
    patches, mask, valid = batch.select_sample(0)
    first = Mask(mask.context, mask.targets[:, :1])
    together, alone = (jepa(patches, each, valid) for each in (mask, first))
    shared = first.target_union[mask.target_union]
    assert not torch.allclose(together.predicted[shared], alone.predicted, atol=1e-5)


def test_targets_of_a_cross_attention_predictor_do_not_attend_to_each_other(models):
    jepa, batch = models.jepa(Teacher(), CrossAttention(**WIDTH)), models.batch()
    patches, mask, valid = batch.select_sample(0)
    first = Mask(mask.context, mask.targets[:, :1])
    together, alone = (jepa(patches, each, valid) for each in (mask, first))
    shared = first.target_union[mask.target_union]
    assert torch.allclose(together.predicted[shared], alone.predicted, atol=1e-5)


def test_a_convolutional_predictor_equals_convolutions_of_each_clip_alone(models):
    settings = Convolutional(dim=8, layers=2, groups=4, mask_token="learned")
    jepa, batch = models.jepa(Teacher(), settings), models.batch()
    predictor = jepa.predictor
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    seen = torch.split(prediction.context_features, prediction.context.segments.lengths)
    by_block = torch.split(prediction.predicted, prediction.targets.segments.lengths)
    for sample, predicted in enumerate(by_block):
        _, mask, valid = batch.select_sample(sample)
        columns = int(valid[0].sum()) // models.grid.freq
        cells = torch.zeros(models.grid.size, 8)
        cells[valid[0]] = predictor.mask_embedding
        cells[mask.context[0]] = predictor.narrow(seen[sample])
        image = cells.T.view(8, models.grid.freq, models.grid.time)[:, :, :columns]
        for layer in predictor.convolutions:
            changed = F.conv2d(image.unsqueeze(0), layer.weight, layer.bias, padding=1, groups=4)
            image = image + F.gelu(F.layer_norm(changed[0].permute(1, 2, 0), (8,))).permute(2, 0, 1)
        is_target = mask.target_union[0].view(models.grid.freq, models.grid.time)[:, :columns]
        expected = predictor.widen(image.permute(1, 2, 0)[is_target])
        assert torch.allclose(predicted, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["cross attention", "convolutional", "linear", "perceptron"])
def test_flops_agree_with_the_counter_of_torch(models, name):
    predictor = PREDICTORS[name]
    jepa = models.jepa(Teacher(), predictor, encoders(predictor)[0])
    batch = models.batch(maskers.Random(ratio=0.5))
    valid = torch.ones_like(batch.valid)
    mask = maskers.Random(ratio=0.5).draw(
        Clips.unpadded(models.grid, models.clips), generator(0, "mask")
    )
    query = jepa(batch.patches, mask, valid).query
    features = torch.randn(query.context.segments.num_tokens, 16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        jepa.predictor(features, query)
    assert jepa.predictor.flops(query) == counter.get_total_flops()


def test_flops_of_convolutions_exclude_context_filler(models):
    jepa, batch = models.jepa(Teacher(), Convolutional(dim=8, layers=2, groups=4)), models.batch()
    query = jepa(batch.patches, batch.mask, batch.valid, "pad").query
    assert query.context.segments.num_tokens > query.unpadded_context.segments.num_tokens
    features = torch.randn(query.context.segments.num_tokens, 16)
    with FlopCounterMode(display=False) as counter:
        jepa.predictor(features, query)
    assert jepa.predictor.flops(query) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        (Convolutional, {"kernel": 4}),
        (Convolutional, {"groups": 5}),
        (Convolutional, {"layers": 0}),
        (PerToken, {"layers": 0}),
        (CrossAttention, {"heads": 7}),
        (Joint, {"num_mask_tokens": 0}),
        (Joint, {"num_mask_tokens": 2, "mask_token": "noise"}),
    ],
)
def test_impossible_settings_are_rejected_with_their_name(part, settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        part(**settings)
