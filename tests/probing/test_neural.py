"""Trained probes: selection of the epoch, held-out labels, initial weights, and accuracy."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from ablate.probing.attentive import Attentive, AttentivePooling
from ablate.probing.knn import KNN
from ablate.probing.neural import Linear, XaresLinear, build_classifier
from ablate.probing.probe import AbstractProbe, Features, ProbeData
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import find_tasks
from ablate.probing.training import CosineDecay, train_and_predict
from ablate.probing.views import Views
from tests.probing.conftest import clip, make_clusters, make_data

RECORDED: list[ProbeData] = []


@dataclass(frozen=True, kw_only=True)
class Recording(AbstractProbe):
    """Records its data."""

    selects: bool = True
    selects_on_test: ClassVar[bool] = False

    @property
    def needs_validation(self):
        return self.selects

    def predict(self, data):
        RECORDED.append(data)
        return np.zeros((len(data.query), data.num_classes), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class SelectsOnTest(Recording):
    """Selects on the query items, as X-ARES does."""

    selects_on_test: ClassVar[bool] = True


def folded(folds: int = 5, clips: int = 60):
    features, labels = make_clusters(clips)
    infos = [clip(i, str(labels[i]), fold=str(i % folds)) for i in range(clips)]
    return Features.from_vectors(features), find_tasks(infos)[0]


def split(parts=("train", "valid", "test"), clips: int = 90):
    features, labels = make_clusters(clips)
    infos = [clip(i, str(labels[i]), split=parts[i * len(parts) // clips]) for i in range(clips)]
    return Features.from_vectors(features), find_tasks(infos)[0]


def record_data(probe, features, task):
    RECORDED.clear()
    score_probe(probe, features, task)
    return list(RECORDED)


@pytest.mark.parametrize("case", [folded, split])
@pytest.mark.parametrize("selects", [True, False])
def test_test_clips_are_neither_trained_on_nor_selected_on_nor_labelled(case, selects):
    features, task = case()
    for data in record_data(Recording(selects=selects), features, task):
        tested = np.setdiff1d(data.query, task.parts.get("valid", []))
        assert not set(tested) & {*data.train, *data.valid}
        assert not set(data.train) & set(data.valid)
        assert (data.labels[tested] == -1).all()
        assert (data.labels[data.train] == task.labels[data.train]).all()
        assert bool(len(data.valid)) == selects


def test_with_folds_the_epoch_is_selected_on_another_fold():
    features, task = folded()
    recorded = record_data(Recording(), features, task)
    assert len(recorded) == 5
    for data in recorded:
        assert len(data.valid) == len(data.query) == 12
        assert len(data.train) == 36


def test_only_the_xares_probe_selects_on_the_test_part():
    features, task = folded()
    for data in record_data(SelectsOnTest(), features, task):
        assert np.array_equal(data.valid, data.query)
        assert (data.labels[data.query] >= 0).all()
    [data] = record_data(SelectsOnTest(), *split())
    assert (data.labels[60:] == -1).all()  # a validation part is used if there is one
    assert XaresLinear.selects_on_test
    assert not Linear.selects_on_test


@pytest.mark.parametrize("probe", [Linear(seeds=1), Linear(seeds=1, hidden=16), XaresLinear()])
@pytest.mark.parametrize("case", [folded, split])
def test_a_trained_probe_separates_linearly_separable_classes(probe, case):
    features, task = case(clips=300)
    score = score_probe(replace(probe, rate=1e-2, epochs=40), features, task)
    assert score["test"] > 85


def test_without_a_validation_part_training_clips_are_held_out():
    features, task = split(("train", "test"))
    assert score_probe(Linear(seeds=1, rate=1e-2, epochs=30), features, task)["test"] > 70


def test_moments_of_a_clip_are_not_split_between_training_and_selection():
    infos = [clip(i, "ab"[i % 2] + "@0-2", split=("train", "test")[i // 20]) for i in range(22)]
    moments = Features(np.zeros((110, 4), dtype=np.float32), np.full(22, 5), seconds=1.0)
    [data] = record_data(Recording(), moments, find_tasks(infos)[0])
    model, trained, selected = nn.Linear(4, 2), set(), set()

    def read(items):
        (trained if model.training else selected).update(set(items // 5) - {20, 21})
        return (torch.from_numpy(data.features[items]),)

    train_and_predict(model, data, read, CosineDecay(rate=1e-3, batch=7, epochs=1), select=True)
    assert trained | selected == set(range(20))
    assert not trained & selected
    assert len(selected) == 4


def test_a_single_training_clip_cannot_be_held_out():
    points, labels = make_clusters(30)
    data = make_data(points[:1], labels[:1], points[1:])
    with pytest.raises(ValueError, match=r"1 training clips .*`choice: last`"):
        Linear(seeds=1).predict(data)
    assert np.isfinite(Linear(seeds=1, choice="last").predict(data)).all()


def test_the_selected_epoch_is_the_best_on_validation():
    train, labels = make_clusters(90)
    wrong = (labels[60:] + 1) % 3  # the longer the training, the fewer of these are predicted
    data = make_data(train[:60], labels[:60], train[60:])
    data.labels[60:] = wrong
    selecting = replace(data, valid=np.arange(60, 90))
    probe = Linear(epochs=30, seeds=1, rate=1e-2)
    best, last = (
        float((scores.argmax(axis=1) == wrong).mean())
        for scores in (probe.predict(selecting), replace(probe, choice="last").predict(data))
    )
    assert best > last


@pytest.mark.parametrize("probe", [Linear(seeds=1), Linear(seeds=1, hidden=16), XaresLinear()])
def test_scores_differ_between_items_from_the_first_step_on(probe):
    train, labels = make_clusters()
    query, _ = make_clusters(20, seed=1)
    data = replace(make_data(train, labels, query), valid=np.arange(60))
    untrained = replace(probe, rate=1e-9, epochs=1).predict(data)
    assert untrained.std(axis=0).min() > 0.01


@pytest.mark.parametrize("hidden", [0, 16])
def test_the_norm_starts_with_weight_one_and_bias_zero(hidden):
    norm = build_classifier(8, 3, 0, hidden=(hidden,) if hidden else ())[0]
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_initial_weights_have_the_distribution_of_torch(part):
    dim, classes = 64, 4000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        reference = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))
    shares = torch.linspace(0, 1, 11)
    quantiles, expected = (
        torch.quantile(getattr(model[1], part).detach().flatten()[:50000], shares)
        for model in (build_classifier(dim, classes, 0), reference)
    )
    assert torch.allclose(quantiles, expected, atol=0.06 / dim**0.5)


def test_initial_weights_depend_only_on_the_seed():
    torch.manual_seed(1)
    first, same, other = (build_classifier(8, 3, seed)[1].weight for seed in (0, 0, 1))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_rate_falls_along_half_a_cosine_to_a_tenth():
    schedule = CosineDecay(rate=1.0, batch=1, epochs=10)
    assert schedule.rate_at(0) == 1
    assert schedule.rate_at(5) == pytest.approx(0.55)
    assert schedule.rate_at(10) == pytest.approx(0.1)


def test_scores_depend_only_on_the_seed():
    train, labels = make_clusters()
    query, _ = make_clusters(20, seed=1)
    scores = [Linear().predict(make_data(train, labels, query, seed)) for seed in (0, 0, 1)]
    assert np.array_equal(scores[0], scores[1])
    assert not np.array_equal(scores[0], scores[2])


def test_the_score_is_the_mean_over_seeds_and_lists_each():
    features, task = folded()
    score = score_probe(Linear(epochs=1, rate=1e-2), features, task)
    assert len(score["seeds"]) == 3
    assert len(set(score["seeds"])) > 1
    assert score["test"] == pytest.approx(np.mean(score["seeds"]))
    assert score["test"] == pytest.approx(np.mean(score["folds"]))
    assert "seeds" not in score_probe(KNN(), features, task)


def make_clips_with_one_informative_token(clips: int = 240):
    """Returns clips of 3 to 9 tokens: one at a random position depends on the class."""
    generator = np.random.default_rng(0)
    labels, counts = np.arange(clips) % 3, generator.integers(3, 10, size=clips)
    rows = []
    for label, count in zip(labels, counts, strict=True):
        tokens = generator.normal(size=(count, 8))
        tokens[generator.integers(count)] = 6 * np.eye(8)[label]
        rows.append(tokens)
    parts = ["train", "valid", "test"]
    infos = [clip(i, str(labels[i]), split=parts[i * 3 // clips]) for i in range(clips)]
    return Features(np.concatenate(rows).astype(np.float32), counts), find_tasks(infos)[0]


def test_the_attentive_probe_finds_the_informative_token():
    features, task = make_clips_with_one_informative_token()
    score = score_probe(Attentive(seeds=1, heads=2, rate=1e-2, batch=8, epochs=30), features, task)
    assert score["test"] > 85


def test_attention_ignores_padding():
    model = AttentivePooling(8, 2, 3)
    tokens, real = torch.randn(2, 5, 8), torch.arange(5) < torch.tensor([[5], [3]])
    expected = model(tokens[1:, :3], real[1:, :3])
    tokens[1, 3:] = 1e6
    assert torch.allclose(model(tokens, real)[1:], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("probe", "message"),
    [
        (lambda: Linear(seeds=0), "`seeds` must be at least 1; got 0"),
        (lambda: Linear(hidden=-1), "`hidden` must be 0 or more; got -1"),
        (lambda: XaresLinear(epochs=0), "`epochs` must be above 0; got 0"),
        (lambda: Attentive(heads=0), "`heads` must be at least 1; got 0"),
        (lambda: KNN(views=Views(poolings=("attentive",))), "cannot read"),
        (lambda: Attentive(views=Views()), "cannot read"),
    ],
)
def test_invalid_settings_raise(probe, message):
    with pytest.raises(ValueError, match=message):
        probe()
