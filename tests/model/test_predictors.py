"""Predictors: what each sees, and that no batch changes what a sample is told."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

import maskers
from ablate.core.random import StepRandom, generator
from ablate.model.codebook import Codebook
from ablate.model.context_encoding import given
from ablate.model.convolutional import Convolutional
from ablate.model.cross_attention import CrossAttention
from ablate.model.masking import Mask
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
    "per target": PerTarget(**WIDTH),
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
def test_gradients_reach_every_trainable_weight_and_nothing_else(bench, target, predictor, encoder):
    jepa, batch = bench.jepa(target, predictor, encoder), bench.batch()
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
def test_a_batch_equals_the_loop_over_its_samples(bench, predictor, encoder):
    jepa, batch = bench.jepa(Teacher(), predictor, encoder), bench.batch()
    together = jepa(batch.patches, batch.mask, batch.valid)
    together.loss(L2()).backward()
    whole = [p.grad.clone() for p in jepa.parameters() if p.requires_grad]
    jepa.zero_grad()
    alone = [jepa(*batch.one(sample)) for sample in range(bench.clips)]
    loss = torch.stack([prediction.loss(L2()) for prediction in alone]).mean()
    loss.backward()
    rows = torch.cat([prediction.predicted for prediction in alone])
    assert torch.allclose(together.predicted, rows, atol=1e-5)
    for here, there in zip(whole, (p for p in jepa.parameters() if p.requires_grad), strict=True):
        assert torch.allclose(here, there.grad, atol=1e-5)


@pytest.mark.parametrize(
    "predictor", [p for p in PREDICTORS.values() if not isinstance(p, PerToken)]
)
def test_padding_predicts_what_packing_does(bench, predictor):
    jepa, batch = bench.jepa(Teacher(), predictor), bench.batch()
    packed, padded = (
        jepa(batch.patches, batch.mask, batch.valid, batching).predicted
        for batching in ("pack", "pad")
    )
    assert torch.allclose(packed, padded, atol=1e-5)


@pytest.mark.parametrize(
    "predictor", [p for p in PREDICTORS.values() if not isinstance(p, PerToken)]
)
def test_what_layers_add_up_is_float32_under_autocast(bench, predictor):
    jepa, batch, summed = bench.jepa(Teacher(), predictor), bench.batch(), []
    jepa.predictor.widen.register_forward_pre_hook(lambda _, given: summed.extend(given))
    with torch.autocast("cpu", torch.bfloat16):
        jepa(batch.patches, batch.mask, batch.valid)
    assert [tokens.dtype for tokens in summed] == [torch.float32]


@pytest.mark.parametrize(("predictor", "encoder"), PAIRS)
def test_several_masks_of_a_clip_equal_as_many_clips(bench, predictor, encoder):
    masker = maskers.Several(maskers=(maskers.MultiBlock(),), times=3)
    jepa, batch = bench.jepa(Teacher(input="targets"), predictor, encoder), bench.batch(masker)
    once = jepa(batch.patches, batch.mask, batch.valid)
    often = jepa(
        batch.patches.repeat_interleave(3, dim=0),
        batch.mask,
        batch.valid.repeat_interleave(3, dim=0),
    )
    assert torch.allclose(once.predicted, often.predicted, atol=1e-5)
    assert torch.allclose(once.target, often.target, atol=1e-5)


@pytest.mark.parametrize(("predictor", "encoder"), PAIRS)
def test_nobody_is_told_what_is_hidden(bench, predictor, encoder):
    jepa, batch = bench.jepa(Teacher(), predictor, encoder), bench.batch()
    before = jepa(batch.patches, batch.mask, batch.valid).predicted
    blinded = torch.where(batch.mask.context.unsqueeze(-1), batch.patches, 1e6)
    assert torch.equal(before, jepa(blinded, batch.mask, batch.valid).predicted)


def test_blocks_of_a_per_target_predictor_do_not_see_each_other(bench):
    jepa, batch = bench.jepa(Teacher(), PerTarget(**WIDTH)), bench.batch()
    together = jepa(batch.patches, batch.mask, batch.valid)
    answers = torch.split(together.predicted, together.question.blocks.segments.lengths)
    where = batch.mask.targets.any(dim=-1).nonzero().tolist()
    assert len(answers) == len(where)
    for answer, (sample, block) in zip(answers, where, strict=True):
        patches, mask, valid = batch.one(sample)
        alone = jepa(patches, Mask(mask.context, mask.targets[:, block : block + 1]), valid)
        assert torch.allclose(answer, alone.predicted, atol=1e-5)


@pytest.mark.parametrize("times", [1, 3])
def test_what_a_step_asks_for_several_times_is_packed_once(bench, times):
    masker = maskers.Several(maskers=(maskers.MultiBlock(),), times=times)
    jepa, batch = bench.jepa(Teacher(), PerTarget(**WIDTH), REPLACE), bench.batch(masker)
    question = jepa(batch.patches, batch.mask, batch.valid).question
    one, other = (given(jepa.encoder, question.context, question) for _ in range(2))
    assert one is other
    assert torch.equal(one.index, pack(question.real).index)
    assert question.repeated_context is question.repeated_context


def test_every_block_lies_in_its_own_sample(bench):
    jepa, batch = bench.jepa(Teacher(), PerTarget(**WIDTH)), bench.batch()
    blocks = jepa(batch.patches, batch.mask, batch.valid).question.blocks
    samples = batch.mask.targets.any(dim=-1).nonzero()[:, 0]
    lengths = torch.tensor(blocks.segments.lengths)
    assert torch.equal(blocks.owner, samples.repeat_interleave(lengths))


@pytest.mark.parametrize("name", ["joint", "cross attention", "convolutional, learned"])
def test_noise_is_drawn_again_for_every_step_and_a_learned_token_is_not(bench, name):
    for token, same in (("learned", True), ("noise", False)):
        settings = replace(PREDICTORS[name], mask_token=token)
        jepa, batch = bench.jepa(Teacher(), settings), bench.batch()
        one, other = (
            jepa(batch.patches, batch.mask, batch.valid, rng=StepRandom(0, step)).predicted
            for step in (1, 2)
        )
        assert torch.equal(one, other) is same


def test_targets_of_a_joint_predictor_do_see_each_other(bench):
    jepa, batch = bench.jepa(Teacher(), Joint(**WIDTH)), bench.batch()
    patches, mask, valid = batch.one(0)
    first = Mask(mask.context, mask.targets[:, :1])
    together, alone = (jepa(patches, shown, valid) for shown in (mask, first))
    shared = first.target_union[mask.target_union]
    assert not torch.allclose(together.predicted[shared], alone.predicted, atol=1e-5)


def test_targets_of_a_cross_attending_predictor_do_not_see_each_other(bench):
    jepa, batch = bench.jepa(Teacher(), CrossAttention(**WIDTH)), bench.batch()
    patches, mask, valid = batch.one(0)
    first = Mask(mask.context, mask.targets[:, :1])
    together, alone = (jepa(patches, shown, valid) for shown in (mask, first))
    shared = first.target_union[mask.target_union]
    assert torch.allclose(together.predicted[shared], alone.predicted, atol=1e-5)


def test_a_convolutional_predictor_equals_convolutions_of_each_clip_by_itself(bench):
    settings = Convolutional(dim=8, layers=2, groups=4, mask_token="learned")
    jepa, batch = bench.jepa(Teacher(), settings), bench.batch()
    predictor = jepa.predictor
    prediction = jepa(batch.patches, batch.mask, batch.valid)
    seen = torch.split(prediction.context_features, prediction.context.segments.lengths)
    answers = torch.split(prediction.predicted, prediction.targets.segments.lengths)
    for sample, answer in enumerate(answers):
        _, mask, valid = batch.one(sample)
        columns = int(valid[0].sum()) // bench.grid.freq
        cells = torch.zeros(bench.grid.size, 8)
        cells[valid[0]] = predictor.mask_embedding
        cells[mask.context[0]] = predictor.narrow(seen[sample])
        image = cells.T.view(8, bench.grid.freq, bench.grid.time)[:, :, :columns]
        for layer in predictor.convolutions:
            changed = F.conv2d(image.unsqueeze(0), layer.weight, layer.bias, padding=1, groups=4)
            image = image + F.gelu(F.layer_norm(changed[0].permute(1, 2, 0), (8,))).permute(2, 0, 1)
        asked = mask.target_union[0].view(bench.grid.freq, bench.grid.time)[:, :columns]
        expected = predictor.widen(image.permute(1, 2, 0)[asked])
        assert torch.allclose(answer, expected, atol=1e-5)


@pytest.mark.parametrize("name", ["cross attention", "convolutional", "linear", "perceptron"])
def test_work_is_counted_as_torch_counts_it(bench, name):
    predictor = PREDICTORS[name]
    jepa = bench.jepa(Teacher(), predictor, encoders(predictor)[0])
    batch = bench.batch(maskers.Random(ratio=0.5))
    valid = torch.ones_like(batch.valid)
    mask = maskers.Random(ratio=0.5)(bench.grid, bench.clips, generator=generator(0, "mask"))
    question = jepa(batch.patches, mask, valid).question
    features = torch.randn(question.context.segments.total, 16)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        jepa.predictor(features, question)
    assert jepa.predictor.flops(question) == counter.get_total_flops()


def test_convolutions_count_no_work_for_what_a_short_context_is_filled_up_with(bench):
    jepa, batch = bench.jepa(Teacher(), Convolutional(dim=8, layers=2, groups=4)), bench.batch()
    question = jepa(batch.patches, batch.mask, batch.valid, "pad").question
    assert question.context.segments.total > question.visible.segments.total
    features = torch.randn(question.context.segments.total, 16)
    with FlopCounterMode(display=False) as counter:
        jepa.predictor(features, question)
    assert jepa.predictor.flops(question) == counter.get_total_flops()


@pytest.mark.parametrize(
    ("part", "settings"),
    [
        (Convolutional, {"kernel": 4}),
        (Convolutional, {"groups": 5}),
        (Convolutional, {"layers": 0}),
        (PerToken, {"layers": 0}),
        (CrossAttention, {"heads": 7}),
    ],
)
def test_impossible_settings_are_refused_with_their_name(part, settings):
    with pytest.raises(ValueError, match=f"`{next(iter(settings))}`"):
        part(**settings)
