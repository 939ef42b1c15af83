"""Probes with weights: what they choose by, what they are never shown, and what they learn."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from ablate.probing.attentive import Attentive, AttentivePooling
from ablate.probing.knn import KNN
from ablate.probing.neural import Linear, XaresLinear, classifier
from ablate.probing.probe import AbstractProbe, Features, Lesson, examine
from ablate.probing.tasks import find_tasks
from ablate.probing.training import Schedule, learn
from ablate.probing.views import Views
from tests.probing.conftest import clip, clouds, lesson_of

LESSONS: list[Lesson] = []


@dataclass(frozen=True, kw_only=True)
class Noted(AbstractProbe):
    """Writes down what it is given."""

    chosen: bool = True
    opens_the_test: ClassVar[bool] = False

    @property
    def chooses(self):
        return self.chosen

    def predict(self, lesson):
        LESSONS.append(lesson)
        return np.zeros((len(lesson.asked), lesson.classes), dtype=np.float32)


@dataclass(frozen=True, kw_only=True)
class Opening(Noted):
    """Chooses by what it is asked, as X-ARES does."""

    opens_the_test: ClassVar[bool] = True


def folded(folds: int = 5, clips: int = 60):
    features, labels = clouds(clips)
    infos = [clip(i, str(labels[i]), fold=str(i % folds)) for i in range(clips)]
    return Features.of(features), find_tasks(infos)[0]


def split(parts=("train", "valid", "test"), clips: int = 90):
    features, labels = clouds(clips)
    infos = [clip(i, str(labels[i]), split=parts[i * len(parts) // clips]) for i in range(clips)]
    return Features.of(features), find_tasks(infos)[0]


def lessons(probe, features, task):
    LESSONS.clear()
    examine(probe, features, task)
    return list(LESSONS)


@pytest.mark.parametrize("case", [folded, split])
@pytest.mark.parametrize("chosen", [True, False])
def test_what_is_asked_is_neither_learnt_from_nor_chosen_by_nor_labelled(case, chosen):
    features, task = case()
    for lesson in lessons(Noted(chosen=chosen), features, task):
        tested = np.setdiff1d(lesson.asked, task.parts.get("valid", []))
        assert not set(tested) & {*lesson.known, *lesson.valid}
        assert not set(lesson.known) & set(lesson.valid)
        assert (lesson.labels[tested] == -1).all()
        assert (lesson.labels[lesson.known] == task.labels[lesson.known]).all()
        assert bool(len(lesson.valid)) == chosen


def test_of_folds_another_fold_is_chosen_by():
    features, task = folded()
    found = lessons(Noted(), features, task)
    assert len(found) == 5
    for lesson in found:
        assert len(lesson.valid) == len(lesson.asked) == 12
        assert len(lesson.known) == 36


def test_only_the_official_form_chooses_by_what_it_reports():
    features, task = folded()
    for lesson in lessons(Opening(), features, task):
        assert np.array_equal(lesson.valid, lesson.asked)
        assert (lesson.labels[lesson.asked] >= 0).all()
    [lesson] = lessons(Opening(), *split())
    assert (lesson.labels[60:] == -1).all()  # where there is a validation part it needs no other
    assert XaresLinear.opens_the_test
    assert not Linear.opens_the_test


@pytest.mark.parametrize("probe", [Linear(seeds=1), Linear(seeds=1, hidden=16), XaresLinear()])
@pytest.mark.parametrize("case", [folded, split])
def test_a_trained_probe_separates_what_a_line_separates(probe, case):
    features, task = case(clips=300)
    score = examine(replace(probe, rate=1e-2, epochs=40), features, task)
    assert score["test"] > 85


def test_without_a_validation_part_a_fifth_of_what_is_known_is_kept_apart():
    features, task = split(("train", "test"))
    assert examine(Linear(seeds=1, rate=1e-2, epochs=30), features, task)["test"] > 70


def test_no_clip_of_moments_is_both_learnt_from_and_chosen_by():
    infos = [clip(i, "ab"[i % 2] + "@0-2", split=("train", "test")[i // 20]) for i in range(22)]
    moments = Features(np.zeros((110, 4), dtype=np.float32), np.full(22, 5), seconds=1.0)
    [lesson] = lessons(Noted(), moments, find_tasks(infos)[0])
    model, learnt, chosen = nn.Linear(4, 2), set(), set()

    def read(items):
        (learnt if model.training else chosen).update(set(items // 5) - {20, 21})
        return (torch.from_numpy(lesson.features[items]),)

    learn(model, lesson, read, Schedule(rate=1e-3, batch=7, epochs=1), choose=True)
    assert learnt | chosen == set(range(20))
    assert not learnt & chosen
    assert len(chosen) == 4


def test_one_known_clip_is_not_both_learnt_from_and_chosen_by():
    points, labels = clouds(30)
    lesson = lesson_of(points[:1], labels[:1], points[1:])
    with pytest.raises(ValueError, match=r"1 training clips .*`choice: last`"):
        Linear(seeds=1).predict(lesson)
    assert np.isfinite(Linear(seeds=1, choice="last").predict(lesson)).all()


def test_the_chosen_epoch_is_the_best_on_validation():
    known, labels = clouds(90)
    wrong = (labels[60:] + 1) % 3  # the more is learnt, the fewer of these are met
    lesson = lesson_of(known[:60], labels[:60], known[60:])
    lesson.labels[60:] = wrong
    chosen = replace(lesson, valid=np.arange(60, 90))
    probe = Linear(epochs=30, seeds=1, rate=1e-2)
    met, met_last = (
        float((found.argmax(axis=1) == wrong).mean())
        for found in (probe.predict(chosen), replace(probe, choice="last").predict(lesson))
    )
    assert met > met_last


@pytest.mark.parametrize("probe", [Linear(seeds=1), Linear(seeds=1, hidden=16), XaresLinear()])
def test_a_trained_probe_tells_items_apart_from_its_first_step_on(probe):
    known, labels = clouds()
    asked, _ = clouds(20, seed=1)
    lesson = replace(lesson_of(known, labels, asked), valid=np.arange(60))
    unmoved = replace(probe, rate=1e-9, epochs=1).predict(lesson)
    assert unmoved.std(axis=0).min() > 0.01


@pytest.mark.parametrize("hidden", [0, 16])
def test_the_norm_of_a_trained_probe_only_norms_before_it_learns(hidden):
    norm = classifier(8, 3, 0, hidden=hidden)[0]
    assert (norm.weight == 1).all()
    assert (norm.bias == 0).all()


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_trained_probe_begins_like_its_twin_by_torch(part):
    dim, classes = 64, 4000
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        twin = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))
    shares = torch.linspace(0, 1, 11)
    found, expected = (
        torch.quantile(getattr(model[1], part).detach().flatten()[:50000], shares)
        for model in (classifier(dim, classes, 0), twin)
    )
    assert torch.allclose(found, expected, atol=0.06 / dim**0.5)


def test_the_first_weights_of_a_trained_probe_are_of_its_seed_alone():
    torch.manual_seed(1)
    one, again, other = (classifier(8, 3, seed)[1].weight for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_the_rate_falls_by_half_a_cosine_towards_a_tenth():
    schedule = Schedule(rate=1.0, batch=1, epochs=10)
    assert schedule.at(0) == 1
    assert schedule.at(5) == pytest.approx(0.55)
    assert schedule.at(10) == pytest.approx(0.1)


def test_a_seed_gives_the_same_scores_and_another_seed_others():
    known, labels = clouds()
    asked, _ = clouds(20, seed=1)
    found = [Linear().predict(lesson_of(known, labels, asked, seed)) for seed in (0, 0, 1)]
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0], found[2])


def test_the_seeds_of_a_probe_are_averaged_and_kept_apart():
    features, task = folded()
    score = examine(Linear(epochs=1, rate=1e-2), features, task)
    assert len(score["seeds"]) == 3
    assert len(set(score["seeds"])) > 1
    assert score["test"] == pytest.approx(np.mean(score["seeds"]))
    assert score["test"] == pytest.approx(np.mean(score["folds"]))
    assert "seeds" not in examine(KNN(), features, task)


def needles(clips: int = 240):
    """Clips of 3 to 9 tokens, of which one, anywhere, tells the class; the others are noise."""
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


def test_the_attentive_probe_finds_the_token_that_tells():
    features, task = needles()
    score = examine(Attentive(seeds=1, heads=2, rate=1e-2, batch=8, epochs=30), features, task)
    assert score["test"] > 85


def test_attention_gives_padding_no_weight():
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
def test_impossible_probes_with_weights_are_refused(probe, message):
    with pytest.raises(ValueError, match=message):
        probe()
