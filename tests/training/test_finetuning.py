"""Fine-tuning of the encoder on the labels of a task."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from torch import nn

from ablate.audio.mel import LogMel
from ablate.audio.synthetic import Synthetic
from ablate.core.random import StepRandom, generator
from ablate.model.conformer import Conformer
from ablate.model.encoder import AbstractEncoder
from ablate.model.packing import pack
from ablate.model.patchify import Rectangles
from ablate.model.transformer import initialise
from ablate.model.vit import ViT
from ablate.parts import get_identity
from ablate.probing.features import FeatureExtractor, RawClips
from ablate.probing.probe import Features, ProbeData
from ablate.probing.scoring import score_probe
from ablate.probing.views import View, Views
from ablate.training import finetuning
from ablate.training.augmentation import (
    AbstractAugmentation,
    LabelledBatch,
    RegularisedMasking,
    SpecAugmentation,
    TokenDrop,
)
from ablate.training.clip_sampling import compute_balanced_weights, draw_balanced_clips
from ablate.training.finetuning import FineTuned, FineTuning, build_parameter_groups
from ablate.worker.audio_data import open_audio

SMALL = ViT(dim=16, layers=2, heads=2)
QUICK = FineTuning(steps=6, batch=4, rate=1e-2)
NOTHING = np.zeros(0, dtype=np.int64)


@pytest.fixture(scope="module")
def audio(tmp_path_factory):
    source = Synthetic(clips_per_class=3, valid_per_class=1, test_per_class=2)
    return open_audio(source, LogMel(bands=32), tmp_path_factory.mktemp("cache"))


@pytest.fixture
def raw(audio):
    return make_raw(audio, SMALL)


def make_raw(audio, settings: AbstractEncoder, pooling="mean") -> RawClips:
    patchifier = Rectangles(freq=16, time=16)
    grid = patchifier.grid(32, 64)
    encoder = settings.build(grid, patchifier.pixels)
    initialise(encoder, 0, "encoder")
    extractor = FeatureExtractor(
        encoder=encoder,
        patchifier=patchifier,
        grid=grid,
        crop_frames=64,
        normaliser=audio.normaliser,
        device=torch.device("cpu"),
    )
    return RawClips(extractor, audio.store, audio.tasks[0].clips, View(pooling), seed=0)


def make_data(raw: RawClips, labels: np.ndarray, queries: int = 4, seed: int = 0) -> ProbeData:
    count = len(labels)
    train = np.arange(count - queries)
    classes = labels.shape[1] if labels.ndim == 2 else int(labels.max()) + 1
    indices = (train, NOTHING, np.arange(count - queries, count))
    empty = np.zeros((count, 0), dtype=np.float32)
    return ProbeData(empty, labels, classes, *indices, seed=seed, raw=raw)


def make_labels(raw: RawClips) -> np.ndarray:
    return np.arange(len(raw.clips)) % 2


@pytest.mark.parametrize(
    "augmentation",
    [RegularisedMasking(rate=0.0), TokenDrop(rate=0.0), SpecAugmentation(freq=0, time=0)],
)
def test_an_augmentation_without_effect_gives_the_same_bits(raw, augmentation):
    data = make_data(raw, make_labels(raw))
    plain = QUICK.predict(data)
    assert np.array_equal(plain, replace(QUICK, augmentation=augmentation).predict(data))


@dataclass(frozen=True, kw_only=True)
class Recording(AbstractAugmentation):
    """Applies another augmentation and records its inputs."""

    inner: AbstractAugmentation = field(default_factory=lambda: TokenDrop(rate=0.0))
    batches: list[torch.Tensor] = field(default_factory=list, compare=False)

    def __call__(self, batch, rng):
        self.batches.append(batch.mels)
        return self.inner(batch, rng)


def predict_untrained(raw, seed=0, **inner):
    """Returns the predictions of an untrained head, and the batches of its training."""
    recording = Recording(**inner)
    data = make_data(raw, make_labels(raw), seed=seed)
    scores = replace(QUICK, rate=0.0, augmentation=recording).predict(data)
    return scores, torch.cat(recording.batches)


@pytest.mark.parametrize("other", [{"run": 1, "probe": 0}, {"run": 0, "probe": 1}], ids=str)
def test_head_and_order_depend_on_the_seeds_of_run_and_probe(raw, other):
    scores, batches = predict_untrained(raw)
    other_scores, other_batches = predict_untrained(replace(raw, seed=other["run"]), other["probe"])
    assert not np.allclose(scores, other_scores)
    assert not torch.equal(batches, other_batches)


def test_treatments_of_a_run_share_head_order_and_windows(raw):
    scores, batches = predict_untrained(replace(raw, seed=3))
    same_scores, same_batches = predict_untrained(
        replace(raw, seed=3), inner=RegularisedMasking(rate=0.5)
    )
    assert np.array_equal(scores, same_scores)
    assert torch.equal(batches, same_batches)


def test_regularised_masking_changes_the_result(raw):
    data = make_data(raw, make_labels(raw))
    masking = replace(QUICK, augmentation=RegularisedMasking(rate=0.5))
    assert not np.allclose(QUICK.predict(data), masking.predict(data), atol=1e-5)


def test_masked_tokens_do_not_attend_to_themselves_in_any_layer(raw):
    """Compares with PyTorch's own layers, one clip at a time, with an explicit attention mask."""
    extractor = raw.extractor
    model = FineTuned(extractor.encoder, "mean", extractor.grid, 3)
    initialise(model, 1, "model")
    mels = torch.randn(3, 32, 64, generator=generator(0, "mels"))
    visible = torch.rand(3, extractor.grid.size, generator=generator(0, "visible")) < 0.8
    batch = LabelledBatch(mels, torch.zeros(0), visible)
    batch = RegularisedMasking(rate=0.4)(batch, StepRandom(seed=0, step=0))
    logits = model(*finetuning._pack(batch, extractor))
    encoder = model.encoder
    for clip in range(3):
        tokens = encoder.project(extractor.patchifier.cut(mels[clip : clip + 1])[0])
        tokens = (tokens + encoder.positions.added.table)[visible[clip]].unsqueeze(0)
        mask = torch.diag(batch.exclude_self[clip][visible[clip]])
        for layer in encoder.transformer.layers:
            reference = nn.TransformerEncoderLayer(
                16, 2, 64, 0.0, "gelu", batch_first=True, norm_first=True
            )
            reference.self_attn.in_proj_weight.data = layer.query_key_value.weight.data
            reference.self_attn.in_proj_bias.data = layer.query_key_value.bias.data
            reference.self_attn.out_proj.load_state_dict(layer.project.state_dict())
            reference.linear1.load_state_dict(layer.expand.state_dict())
            reference.linear2.load_state_dict(layer.contract.state_dict())
            tokens = reference(tokens, src_mask=mask)
        pooled = encoder.transformer.norm(tokens[0]).mean(dim=0)
        expected = model.head["tell"](model.head["norm"](pooled))
        assert torch.allclose(logits[clip], expected, atol=1e-5)


def test_the_scored_encoder_does_not_change(raw):
    before = {name: value.clone() for name, value in raw.extractor.encoder.state_dict().items()}
    QUICK.predict(make_data(raw, make_labels(raw)))
    after = raw.extractor.encoder.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())


def test_it_learns_the_training_labels(audio, raw):
    task = audio.tasks[0]
    settings = FineTuning(steps=120, batch=8, rate=1e-2)
    features = Features.from_raw(replace(raw, clips=task.clips))
    tuned = settings.predict(
        ProbeData(
            features.rows,
            task.labels,
            len(task.classes),
            np.arange(len(task.clips)),
            NOTHING,
            np.arange(len(task.clips)),
            raw=features.raw,
        )
    )
    assert (tuned.argmax(axis=1) == task.labels).mean() > 0.6
    score = score_probe(replace(settings, steps=2), features, task)
    assert score["valid"] is not None
    assert score["test"] is not None


def test_a_clip_is_predicted_from_its_own_windows_only(raw):
    data = make_data(raw, make_labels(raw), queries=6)
    scores = QUICK.predict(data)
    part = QUICK.predict(replace(data, query=data.query[[4, 1]]))
    assert np.array_equal(part, scores[[4, 1]])


def test_the_result_depends_only_on_the_seed(raw):
    labels = make_labels(raw)
    first, same = (QUICK.predict(make_data(raw, labels)) for _ in range(2))
    assert np.array_equal(first, same)
    assert not np.allclose(first, QUICK.predict(make_data(raw, labels, seed=1)), atol=1e-4)


def test_a_clip_may_have_several_classes(raw):
    always = np.ones(len(raw.clips)) > 0
    labels = np.stack([make_labels(raw) == 0, always, always], axis=1)
    scores = FineTuning(steps=30, batch=8, rate=1e-2).predict(make_data(raw, labels))
    assert scores[:, 1:].min() > 0.7  # the classes that always hold
    assert ((scores > 0) & (scores < 1)).all()


@pytest.mark.parametrize("settings", [SMALL, Conformer(dim=16, layers=2, heads=2, mlp_dim=24)])
@pytest.mark.parametrize("frozen", [0, 1, 2, 9])
def test_each_layer_has_its_share_of_the_rate_and_frozen_layers_none(audio, settings, frozen):
    extractor = make_raw(audio, settings).extractor
    model = FineTuned(extractor.encoder, "mean", extractor.grid, 3)
    share = {
        id(parameter): group["share"]
        for group in build_parameter_groups(model, 0.5, frozen)
        for parameter in group["params"]
    }
    names = {name: share.get(id(parameter)) for name, parameter in model.named_parameters()}
    layers = "encoder.transformer.layers" if settings is SMALL else "encoder.layers"
    assert names["head.tell.weight"] == 1
    assert names[f"{layers}.1.project.weight"] == (None if frozen >= 2 else 0.5)
    assert names[f"{layers}.0.project.weight"] == (None if frozen >= 1 else 0.25)
    assert names["encoder.project.weight"] == (None if frozen >= 1 else 0.125)
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (names[name] is not None)


def test_a_frozen_encoder_trains_only_its_last_norm(raw):
    model = FineTuned(raw.extractor.encoder, "mean", raw.extractor.grid, 2)
    initialise(model.head, 0, "head")
    settings = replace(QUICK, frozen=2, weight_decay=0.5)
    settings._train(model, make_data(raw, make_labels(raw)), raw, 0)
    trained = model.encoder.state_dict()
    for name, value in raw.extractor.encoder.state_dict().items():
        assert torch.equal(value, trained[name]) == (not name.startswith("transformer.norm")), name


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_norm_before_all_layers_has_the_share_of_the_stem(audio, frozen):
    extractor = make_raw(audio, replace(SMALL, norm="post")).extractor
    model = FineTuned(extractor.encoder, "mean", extractor.grid, 3)
    shares = {
        id(parameter): group["share"]
        for group in build_parameter_groups(model, 0.5, frozen)
        for parameter in group["params"]
    }
    stem = shares.get(id(model.encoder.project.weight))
    assert stem == (None if frozen else 0.125)
    for parameter in model.encoder.transformer.norm.parameters():
        assert shares.get(id(parameter)) == stem
        assert parameter.requires_grad == (not frozen)


def test_concat_freq_pools_each_row_of_the_grid(audio):
    raw = make_raw(audio, SMALL, "concat_freq")
    extractor = raw.extractor
    model = FineTuned(extractor.encoder, "concat_freq", extractor.grid, 3)
    initialise(model.head, 0, "head")
    visible = torch.tensor([[True] * 8, [True, False, False, False] * 2])
    patches = torch.randn(2, 8, 256, generator=generator(0, "patches"))
    logits = model(patches, pack(visible))
    for clip in range(2):
        tokens = extractor.encoder(patches[clip : clip + 1], pack(visible[clip : clip + 1])).tokens
        pooled = torch.cat([row.mean(dim=0) for row in tokens.chunk(2)])
        expected = model.head["tell"](model.head["norm"](pooled))
        assert torch.allclose(logits[clip], expected, atol=1e-5)


def test_the_summary_is_used_if_the_encoder_has_one(audio):
    with_summary = make_raw(audio, replace(SMALL, summary=True), "summary")
    assert QUICK.predict(make_data(with_summary, make_labels(with_summary))).shape == (4, 2)
    without_summary = make_raw(audio, SMALL, "summary")
    with pytest.raises(ValueError, match="this encoder has no summary token"):
        QUICK.predict(make_data(without_summary, make_labels(without_summary)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1"),
        ({"frozen": -1}, "`frozen` must not be negative"),
        ({"layer_decay": 0.0}, "`layer_decay` must lie in"),
        ({"views": Views(poolings=("max",))}, "cannot fine-tune through"),
        (
            {"views": Views(poolings=("mean",), layers=("each",))},
            "fine-tuning trains the whole",
        ),
    ],
)
def test_invalid_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        FineTuning(**settings)


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_balanced_clips_are_drawn_by_how_rare_their_classes_are(kind):
    rare = np.arange(40) % 10 == 0
    if kind == "single":
        labels, expected = rare.astype(np.int64), np.where(rare, 1 / 4, 1 / 36)
    else:  # the last clip has no class
        labels = np.stack([rare, np.arange(40) < 39], axis=1)
        expected = np.where(rare, 1 / 4 + 1 / 39, 1 / 39)
    data = ProbeData(np.zeros((40, 0)), labels, 2, np.arange(40), NOTHING, NOTHING)
    weights = compute_balanced_weights(data).numpy()
    assert np.allclose(weights / weights.max(), expected / expected.max())
    batches = draw_balanced_clips(data, 500, seed=0)
    drawn = np.concatenate([next(batches) for _ in range(8)])
    share, count = expected[rare].sum() / expected.sum(), len(drawn)
    error = np.sqrt(share * (1 - share) / count)
    assert abs(rare[drawn].mean() - share) < 5 * error


def test_balanced_sampling_trains_and_uniform_sampling_is_as_before(raw):
    labels = make_labels(raw)
    balanced = replace(QUICK, sampling="balanced").predict(make_data(raw, labels))
    assert not np.allclose(balanced, QUICK.predict(make_data(raw, labels)), atol=1e-4)
    assert "sampling" not in get_identity(QUICK)
