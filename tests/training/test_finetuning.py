"""Fine-tuning: an encoder that learns labels itself."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

from ablate.audio.mel import LogMel
from ablate.audio.synthetic import Synthetic
from ablate.core.random import generator
from ablate.model.conformer import Conformer
from ablate.model.encoder import AbstractEncoder
from ablate.model.packing import pack
from ablate.model.patchify import Rectangles
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.probing.features import Heard, Reader
from ablate.probing.probe import Features, Lesson, examine
from ablate.probing.views import View, Views
from ablate.training import finetuning
from ablate.training.augmentation import (
    AbstractAugmentation,
    LabelledBatch,
    RegularisedMasking,
    SpecAugment,
    TokenDrop,
)
from ablate.training.finetuning import FineTuning, Pupil, rates
from ablate.worker.trial import open_sound

SMALL = ViT(dim=16, layers=2, heads=2)
QUICK = FineTuning(steps=6, batch=4, rate=1e-2)
NOTHING = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    source = Synthetic(clips_per_class=3, valid_per_class=1, test_per_class=2)
    return open_sound(source, LogMel(bands=32), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def heard(sound):
    return hearing(sound, SMALL)


def hearing(sound, settings: AbstractEncoder, pooling="mean") -> Heard:
    patchifier = Rectangles(freq=16, time=16)
    grid = patchifier.grid(32, 64)
    encoder = settings.build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    reader = Reader(
        encoder=encoder,
        patchifier=patchifier,
        grid=grid,
        crop_frames=64,
        normaliser=sound.normaliser,
        device=torch.device("cpu"),
    )
    return Heard(reader, sound.store, sound.tasks[0].clips, View(pooling), seed=0)


def lesson(heard: Heard, labels: np.ndarray, asked: int = 4, seed: int = 0) -> Lesson:
    count = len(labels)
    known = np.arange(count - asked)
    classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    places = (known, NOTHING, np.arange(count - asked, count))
    empty = np.zeros((count, 0), dtype=np.float32)
    return Lesson(empty, labels, classes, *places, seed=seed, heard=heard)


def labels_of(heard: Heard) -> np.ndarray:
    return np.arange(len(heard.clips)) % 2


@pytest.mark.parametrize(
    "augmentation", [RegularisedMasking(rate=0.0), TokenDrop(rate=0.0), SpecAugment(freq=0, time=0)]
)
def test_doing_nothing_to_a_batch_is_plain_fine_tuning_to_the_bit(heard, augmentation):
    given = lesson(heard, labels_of(heard))
    plain = QUICK.predict(given)
    assert np.array_equal(plain, replace(QUICK, augmentation=augmentation).predict(given))


@dataclass(frozen=True, kw_only=True)
class Watching(AbstractAugmentation):
    """Does what another augmentation does, and keeps the batches that it was given."""

    inner: AbstractAugmentation = field(default_factory=lambda: TokenDrop(rate=0.0))
    seen: list[torch.Tensor] = field(default_factory=list, compare=False)

    def __call__(self, exercise, rng):
        self.seen.append(exercise.mels)
        return self.inner(exercise, rng)


def chances(heard, seed=0, **inner):
    """Returns what a head tells before it has learnt, and the batches that it is to learn from."""
    watching = Watching(**inner)
    given = lesson(heard, labels_of(heard), seed=seed)
    told = replace(QUICK, rate=0.0, augmentation=watching).predict(given)
    return told, torch.cat(watching.seen)


@pytest.mark.parametrize("other", [{"run": 1, "probe": 0}, {"run": 0, "probe": 1}], ids=str)
def test_runs_of_the_same_weights_and_other_seeds_get_other_heads_and_orders(heard, other):
    told, batches = chances(heard)
    otherwise, rebatched = chances(replace(heard, seed=other["run"]), other["probe"])
    assert not np.allclose(told, otherwise)
    assert not torch.equal(batches, rebatched)


def test_two_treatments_of_a_run_share_head_order_and_windows(heard):
    one, batches = chances(replace(heard, seed=3))
    other, same = chances(replace(heard, seed=3), inner=RegularisedMasking(rate=0.5))
    assert np.array_equal(one, other)
    assert torch.equal(batches, same)


def test_regularised_masking_changes_what_is_learnt(heard):
    given = lesson(heard, labels_of(heard))
    barring = replace(QUICK, augmentation=RegularisedMasking(rate=0.5))
    assert not np.allclose(QUICK.predict(given), barring.predict(given), atol=1e-5)


def test_barred_tokens_do_without_themselves_in_every_layer(heard):
    """PyTorch's own layers, a clip at a time, with the mask over pairs of tokens written out."""
    reader = heard.reader
    pupil = Pupil(reader.encoder, "mean", reader.grid, 3)
    initialise(pupil, 1, "pupil")
    mels = torch.randn(3, 32, 64, generator=generator(0, "mels"))
    member = torch.rand(3, reader.grid.size, generator=generator(0, "member")) < 0.8
    exercise = LabelledBatch(mels, torch.zeros(0), member)
    exercise = RegularisedMasking(rate=0.4)(exercise, finetuning.StepRandom(seed=0, step=0))
    told = pupil(*finetuning._shown(exercise, reader))
    encoder = pupil.encoder
    for clip in range(3):
        tokens = encoder.project(reader.patchifier.cut(mels[clip : clip + 1])[0])
        tokens = (tokens + encoder.positions.added.table)[member[clip]].unsqueeze(0)
        unseen = torch.diag(exercise.no_self_attention[clip][member[clip]])
        for layer in encoder.transformer.layers:
            theirs = nn.TransformerEncoderLayer(
                16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True
            )
            theirs.self_attn.in_proj_weight.data = layer.query_key_value.weight.data
            theirs.self_attn.in_proj_bias.data = layer.query_key_value.bias.data
            theirs.self_attn.out_proj.load_state_dict(layer.project.state_dict())
            theirs.linear1.load_state_dict(layer.expand.state_dict())
            theirs.linear2.load_state_dict(layer.contract.state_dict())
            tokens = theirs(tokens, src_mask=unseen)
        pooled = encoder.transformer.norm(tokens[0]).mean(dim=0)
        expected = pupil.head["tell"](pupil.head["norm"](pooled))
        assert torch.allclose(told[clip], expected, atol=1e-5)


def test_the_encoder_that_is_scored_stays_as_it_is(heard):
    before = {name: value.clone() for name, value in heard.reader.encoder.state_dict().items()}
    QUICK.predict(lesson(heard, labels_of(heard)))
    after = heard.reader.encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_it_learns_the_labels_that_it_is_given(sound, heard):
    task = sound.tasks[0]
    settings = FineTuning(steps=120, batch=8, rate=1e-2)
    features = Features.as_heard(replace(heard, clips=task.clips))
    tuned = settings.predict(
        Lesson(
            features.rows,
            task.labels,
            len(task.classes),
            np.arange(len(task.clips)),
            NOTHING,
            np.arange(len(task.clips)),
            heard=features.heard,
        )
    )
    assert (tuned.argmax(axis=1) == task.labels).mean() > 0.6
    score = examine(replace(settings, steps=2), features, task)
    assert score["valid"] is not None
    assert score["test"] is not None


def test_a_clip_is_told_by_all_its_windows_and_no_other_clip(heard):
    given = lesson(heard, labels_of(heard), asked=6)
    whole = QUICK.predict(given)
    part = QUICK.predict(replace(given, asked=given.asked[[4, 1]]))
    assert np.array_equal(part, whole[[4, 1]])


def test_another_seed_learns_otherwise_and_the_same_alike(heard):
    labels = labels_of(heard)
    once, again = (QUICK.predict(lesson(heard, labels)) for _ in range(2))
    assert np.array_equal(once, again)
    assert not np.allclose(once, QUICK.predict(lesson(heard, labels, seed=1)), atol=1e-4)


def test_several_classes_may_hold_at_once(heard):
    always = np.ones(len(heard.clips)) > 0
    labels = np.stack([labels_of(heard) == 0, always, always], axis=1)
    scores = FineTuning(steps=30, batch=8, rate=1e-2).predict(lesson(heard, labels))
    assert scores[:, 1:].min() > 0.7  # the classes that always hold
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("settings", [SMALL, Conformer(dim=16, layers=2, heads=2, mlp_dim=24)])
@pytest.mark.parametrize("frozen", [0, 1, 2, 9])
def test_each_layer_has_its_share_of_the_rate_and_frozen_ones_none(sound, settings, frozen):
    reader = hearing(sound, settings).reader
    pupil = Pupil(reader.encoder, "mean", reader.grid, 3)
    share = {
        id(parameter): group["share"]
        for group in rates(pupil, 0.5, frozen)
        for parameter in group["params"]
    }
    names = {name: share.get(id(parameter)) for name, parameter in pupil.named_parameters()}
    layers = "encoder.transformer.layers" if settings is SMALL else "encoder.layers"
    assert names["head.tell.weight"] == 1
    assert names[f"{layers}.1.project.weight"] == (None if frozen >= 2 else 0.5)
    assert names[f"{layers}.0.project.weight"] == (None if frozen >= 1 else 0.25)
    assert names["encoder.project.weight"] == (None if frozen >= 1 else 0.125)
    for name, parameter in pupil.named_parameters():
        assert parameter.requires_grad == (names[name] is not None)


def test_an_encoder_that_is_frozen_learns_nothing_but_its_last_norm(heard):
    pupil = Pupil(heard.reader.encoder, "mean", heard.reader.grid, 2)
    initialise(pupil.head, 0, "head")
    settings = replace(QUICK, frozen=2, weight_decay=0.5)
    settings._learn(pupil, lesson(heard, labels_of(heard)), heard, 0)
    trained = pupil.encoder.state_dict()
    for name, value in heard.reader.encoder.state_dict().items():
        assert torch.equal(value, trained[name]) == (not name.startswith("transformer.norm")), name


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_norm_before_all_layers_learns_as_what_else_comes_before_them(sound, frozen):
    reader = hearing(sound, replace(SMALL, norm="post")).reader
    pupil = Pupil(reader.encoder, "mean", reader.grid, 3)
    shares = {
        id(parameter): group["share"]
        for group in rates(pupil, 0.5, frozen)
        for parameter in group["params"]
    }
    stem = shares.get(id(pupil.encoder.project.weight))
    assert stem == (None if frozen else 0.125)
    for parameter in pupil.encoder.transformer.norm.parameters():
        assert shares.get(id(parameter)) == stem
        assert parameter.requires_grad == (not frozen)


def test_the_head_reads_the_mean_of_each_row_of_the_grid(sound):
    heard = hearing(sound, SMALL, "concat_freq")
    reader = heard.reader
    pupil = Pupil(reader.encoder, "concat_freq", reader.grid, 3)
    initialise(pupil.head, 0, "head")
    member = torch.tensor([[True] * 8, [True, False, False, False] * 2])
    patches = torch.randn(2, 8, 256, generator=generator(0, "patches"))
    told = pupil(patches, pack(member))
    for clip in range(2):
        tokens = reader.encoder(patches[clip : clip + 1], pack(member[clip : clip + 1])).tokens
        pooled = torch.cat([row.mean(dim=0) for row in tokens.chunk(2)])
        expected = pupil.head["tell"](pupil.head["norm"](pooled))
        assert torch.allclose(told[clip], expected, atol=1e-5)


def test_the_head_may_read_a_summary_that_the_encoder_has(sound):
    having = hearing(sound, replace(SMALL, summary=True), "summary")
    assert QUICK.predict(lesson(having, labels_of(having))).shape == (4, 2)
    lacking = hearing(sound, SMALL, "summary")
    with pytest.raises(ValueError, match="this encoder has no summary token"):
        QUICK.predict(lesson(lacking, labels_of(lacking)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"frozen": -1}, "`frozen` must not be negative"),
        ({"layer_decay": 0.0}, "`layer_decay` must lie in"),
        ({"views": Views(poolings=("max",))}, "cannot be learnt through"),
        ({"views": Views(poolings=("mean",), layers=("each",))}, "what is fine-tuned is the whole"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        FineTuning(**settings)
