"""Tasks whose labels are numbers: reading them, predicting them, and the metrics."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from sklearn.metrics import mean_absolute_error, r2_score

from ablate.audio.annotations import infer_label_kind, parse_numbers
from ablate.audio.labels import check_labels
from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN
from ablate.probing.linear import Ridge
from ablate.probing.metrics import measure_numbers
from ablate.probing.neural import Linear
from ablate.probing.probe import Features
from ablate.probing.scoring import score_probe
from ablate.probing.tasks import Task, find_tasks
from ablate.probing.tuned import Tuned
from tests.probing.conftest import clip, make_data

NAMES = st.text("abc xyz", min_size=1, max_size=4).map(str.strip).filter(bool)
NUMBERS = st.floats(-1e6, 1e6, width=32)


@given(st.lists(st.dictionaries(NAMES, NUMBERS, min_size=1, max_size=3), min_size=1))
def test_cells_of_numbers_are_read_back(rows):
    cells = [";".join(f"{name}={number!r}" for name, number in row.items()) for row in rows]
    assert infer_label_kind(cells) == "numbers"
    assert [parse_numbers(cell) for cell in cells] == rows


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["tempo=98", "tempo=fast"], "single"),
        (["tempo=98", ""], "single"),
        (["tempo=98", "-"], "multi"),
        (["tempo=98", "dog@0-1"], "events"),
        (["98", "120"], "single"),
        ([], "single"),
    ],
)
def test_a_task_has_numbers_only_if_all_its_cells_have(cells, kind):
    assert infer_label_kind(cells) == kind


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["v=1;a=2", "v=1"], r"task `a`: `v=1;a=2` and `v=1` differ in `a`; give every clip"),
        (["v=1;v=2", "v=1"], "gives `v` twice"),
        (["v=1e999", "v=1"], "`v=1e999` is too large for a number"),
        (["v=1", "v=2", "v=nan"], "task `a`: 4 of 6 clips have numbers, but the label `v=nan` is"),
        (["v=1", "v=2", "v=3;a"], "but the label `v=3;a` is none; give such clips a number"),
        (["v=1", "v=2", "-"], "but the label `-` is none"),
        (["v=1", "v=2", ""], "but an empty label is none"),
    ],
)
def test_numbers_that_cannot_be_used_are_errors(cells, message):
    splits = ("train", "test")
    clips = [clip(index, cell, split=splits[index % 2]) for index, cell in enumerate(cells * 2)]
    with pytest.raises(ValueError, match=message):
        check_labels(clips)


def test_a_task_has_the_numbers_of_its_clips_in_the_order_of_their_names():
    cells = ["v=1;a=-2.5", "a=3;v=4", "v=5;a=6"]
    [task] = find_tasks(clip(i, cell, split="train") for i, cell in enumerate(cells))
    assert (task.kind, task.classes) == ("numbers", ("a", "v"))
    assert task.labels.tolist() == [[-2.5, 1], [3, 4], [6, 5]]


SHAPES = st.tuples(st.integers(2, 20), st.integers(1, 3))


@given(
    SHAPES.flatmap(
        lambda shape: arrays.arrays(np.float32, (2, *shape), elements=st.integers(-9, 9))
    )
)
def test_metrics_of_numbers_are_those_of_scikit_learn(pair):
    metrics = measure_numbers(*pair)
    predicted, truth = pair.astype(np.float64)  # scikit-learn computes in the precision it gets
    assert metrics["mae"] == pytest.approx(mean_absolute_error(truth, predicted))
    varied = (truth != truth[0]).any(axis=0)
    expected = 100 * r2_score(truth[:, varied], predicted[:, varied]) if varied.any() else 0.0
    assert metrics["r2"] == pytest.approx(expected)


def make_task(clips=120, noise=0.1):
    """Numbers that are linear functions of the features, in very different units."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(clips, 6)).astype(np.float32)
    numbers = features @ rng.normal(size=(6, 2)) + noise * rng.normal(size=(clips, 2))
    labels = (numbers * [1000, 0.01] + [50, 7]).astype(np.float32)
    parts = {name: np.arange(clips).reshape(3, -1)[i] for i, name in enumerate(PARTS)}
    task = Task("toy", "numbers", ("a", "b"), np.arange(clips), labels, parts, folded=False)
    return Features.from_vectors(features), task


PARTS = ("train", "valid", "test")


@pytest.mark.parametrize(
    "probe",
    [
        Ridge(penalty=1e-3),
        Linear(rate=0.03, epochs=60, seeds=1),
        Tuned(probe=Ridge(), grid={"penalty": [1e-3, 1.0]}),
        KNN(k=5),
    ],
    ids=repr,
)
def test_probes_predict_numbers_in_any_unit(probe):
    features, task = make_task()
    score = score_probe(probe, features, task)
    assert score["metric"] == "r2"
    assert score["test"] > (30 if isinstance(probe, KNN) else 80)
    error = score_probe(replace(probe, metric="mae"), features, task)
    assert error["test"] == pytest.approx(-error["metrics"]["mae"])


def test_a_probe_does_not_get_the_numbers_that_it_predicts():
    features, task = make_task()
    seen = []

    @dataclass(frozen=True, kw_only=True)
    class Watching(Ridge):
        def predict(self, data):
            seen.append(data.labels[data.query])
            return super().predict(data)

    score_probe(Watching(), features, task)
    assert len(seen[0]) == 80
    assert np.isnan(seen[0]).all()


def test_ridge_solves_the_normal_equations():
    rng = np.random.default_rng(1)
    rows, query = rng.normal(size=(30, 4)), rng.normal(size=(5, 4))
    numbers = rng.normal(size=(30, 2)) * [3, 100] + [1, -4]
    data = make_data(rows.astype(np.float32), numbers.astype(np.float32), query.astype(np.float32))
    mean, std = numbers.mean(axis=0), numbers.std(axis=0)
    centred = rows - rows.mean(axis=0)
    matrix = centred.T @ centred / 30 + 0.5 * np.eye(4)
    weights = np.linalg.solve(matrix, centred.T @ ((numbers - mean) / std) / 30)
    expected = (query - rows.mean(axis=0)) @ weights * std + mean
    assert np.allclose(Ridge(penalty=0.5).predict(data), expected, rtol=1e-4, atol=1e-4)


def test_neighbours_give_the_weighted_mean_of_their_numbers():
    rng = np.random.default_rng(2)
    rows, query = (rng.normal(size=(size, 4)).astype(np.float32) for size in (20, 6))
    numbers = rng.normal(size=(20, 1)).astype(np.float32)
    predicted = KNN(k=3, temperature=0.5).predict(make_data(rows, numbers, query))
    for place, vector in enumerate(query):
        cosines = rows @ vector / np.linalg.norm(rows, axis=1) / np.linalg.norm(vector)
        nearest = np.argsort(-cosines)[:3]
        weights = np.exp(cosines[nearest] / 0.5)
        expected = (weights * numbers[nearest, 0]).sum() / weights.sum()
        assert predicted[place, 0] == pytest.approx(expected, rel=1e-4)


def test_probes_of_classes_do_not_score_numbers():
    kinds = [probe.can_score("numbers", "mean") for probe in (KNN(), Linear(), Ridge())]
    assert kinds == [True, True, True]
    assert Attentive().can_score("numbers", "attentive")
    assert not Ridge().can_score("single", "mean")
