"""Options of probes: few labels, other metrics, layers, pooling, deeper heads, and tuning."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.parts import PartError, build, get_identity, resolve
from ablate.probing.knn import KNN
from ablate.probing.linear import Logistic
from ablate.probing.neural import LayerWeights, Linear, build_classifier
from ablate.probing.pooling import Sums
from ablate.probing.probe import Features
from ablate.probing.scoring import divide_clips, score_probe, select_labelled
from ablate.probing.tasks import Task
from ablate.probing.training import CosineDecay, train_and_predict
from ablate.probing.tuned import Tuned
from ablate.probing.verification import Verification
from ablate.probing.views import View, Views, parse_view
from tests.probing.conftest import make_clusters, make_data, predict_classes


def make_task(clips=60, kind="single", seed=0):
    features, labels = make_clusters(clips, seed=seed)
    parts = {
        "train": np.arange(clips // 2),
        "valid": np.arange(clips // 2, 3 * clips // 4),
        "test": np.arange(3 * clips // 4, clips),
    }
    if kind == "multi":
        labels = np.eye(3, dtype=bool)[labels]
    task = Task("toy", kind, ("a", "b", "c"), np.arange(clips), labels, parts, folded=False)
    return Features.from_vectors(features), task


@given(st.integers(1, 12), st.integers(0, 3))
def test_shots_take_as_many_clips_of_every_class(shots, seed):
    _, task = make_task()
    kept = select_labelled(KNN(shots=shots), task, task.parts["train"], seed)
    counts = np.bincount(task.labels[kept], minlength=3)
    assert counts.tolist() == [min(shots, 10)] * 3
    more = select_labelled(KNN(shots=shots + 1), task, task.parts["train"], seed)
    assert set(kept) <= set(more) <= set(task.parts["train"])


@given(st.floats(0.01, 1.0), st.sampled_from(["single", "multi"]))
def test_a_share_of_labels_is_the_share_of_training_clips(share, kind):
    _, task = make_task(kind=kind)
    kept = select_labelled(KNN(label_share=share), task, task.parts["train"], 0)
    expected = 3 * max(1, round(share * 10)) if kind == "single" else max(1, round(share * 30))
    assert len(kept) == len(set(kept)) == expected


def test_all_labels_score_as_without_the_setting():
    features, task = make_task()
    expected = score_probe(KNN(k=3), features, task)
    assert score_probe(KNN(k=3, label_share=1.0), features, task) == expected
    assert score_probe(KNN(k=3, shots=10), features, task) == expected


def test_other_seeds_draw_other_clips():
    _, task = make_task()
    first, second = (
        select_labelled(KNN(shots=3), task, task.parts["train"], seed) for seed in (0, 1)
    )
    assert set(first) != set(second)


def test_shots_are_an_error_for_clips_of_several_classes():
    features, task = make_task(kind="multi")
    with pytest.raises(ValueError, match="use `label_share`"):
        score_probe(KNN(shots=1), features, task)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 0}, "`shots` must be 1 or more"),
        ({"shots": 1, "label_share": 0.5}, "excludes `label_share`"),
        ({"label_share": 0.0}, r"`label_share` must lie in \(0, 1\]"),
        ({"label_share": 1.5}, r"`label_share` must lie in \(0, 1\]"),
        ({"metric": "f1"}, "macro_f1"),
    ],
)
def test_impossible_settings_are_errors(settings, message):
    with pytest.raises(PartError, match=message):
        build({"type": "ablate.probing.knn.KNN", **settings}, expect=KNN)


def test_the_metric_of_the_score_can_be_chosen_and_lower_error_rates_score_higher():
    features, task = make_task()
    plain = score_probe(Logistic(), features, task)
    chosen = score_probe(Logistic(metric="macro_f1"), features, task)
    assert chosen["test"] == pytest.approx(plain["metrics"]["macro_f1"])
    assert chosen["metric"] == "macro_f1"
    two = replace(task, classes=("a", "b"), labels=task.labels % 2)
    eer = score_probe(Logistic(metric="eer"), features, two)
    assert eer["test"] == pytest.approx(100 - eer["metrics"]["eer"])
    with pytest.raises(ValueError, match="task `toy` has no metric `eer`, but accuracy, macro_f1"):
        score_probe(Logistic(metric="eer"), features, task)


def test_settings_that_are_not_used_leave_scores_valid():
    added = {"metric", "shots", "label_share", "hidden_layers", "dropout", "patience"}
    for probe in (KNN(), Logistic(), Linear()):
        assert not added & get_identity(probe).keys()


def test_only_few_labels_of_a_probe_that_selects_have_a_new_procedure():
    for settings in ({"shots": 4}, {"label_share": 0.5}):
        probe = Linear(**settings)
        assert get_identity(probe)["label_procedure"] == 2
        assert build(resolve(probe), expect=Linear) == probe
        assert "label_procedure" not in get_identity(KNN(**settings))
        assert "label_procedure" not in get_identity(replace(probe, shots=None, label_share=None))


def test_mean_max_is_the_sum_of_mean_and_maximum():
    tokens = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    unit = torch.arange(40) % 3
    zeros = torch.zeros_like(unit)
    sums = Sums.compute(tokens, unit, zeros, units=3, rows=1, poolings=["mean_max"])
    for clip in range(3):
        own = tokens[unit == clip]
        expected = own.mean(dim=0) + own.amax(dim=0)
        assert np.allclose(sums.pool("mean_max")[clip], expected, atol=1e-6)


@pytest.mark.parametrize("view", Views(layers=("last", "mean", "each", "concat")).expand(12))
def test_the_name_of_a_view_is_parsed_to_the_view(view):
    assert parse_view(view.name) == view


def test_all_layers_can_be_read_side_by_side():
    assert Views(layers=("concat",), poolings=("mean",)).expand(3) == (View("mean", "concat"),)
    assert View("mean", "concat").name == "concat_layers.mean"


def test_weighed_layers_find_the_layer_that_separates_classes():
    rng = np.random.default_rng(0)
    good, labels = make_clusters(300, dim=8)
    noise = [rng.normal(size=good.shape) * 3 for _ in range(4)]
    rows = np.stack([*noise[:2], good, *noise[2:]], axis=1).astype(np.float32)  # clips layers dim
    data = make_data(rows[:200].reshape(200, -1), labels[:200], rows[200:].reshape(100, -1))
    data = replace(data, layers=(5, 8))
    views = Views(layers=("concat",), poolings=("mean",))
    probe = Linear(weigh_layers=True, views=views, rate=0.05, epochs=40, choice="last")
    model = probe._build(data)
    assert isinstance(model[0], LayerWeights)
    accuracy = (probe.predict(data).argmax(axis=1) == labels[200:]).mean()
    plain = rows.mean(axis=1)  # equal weights
    equal = predict_classes(
        Linear(rate=0.05, epochs=40, choice="last"), plain[:200], labels[:200], plain[200:]
    )
    assert accuracy > (equal == labels[200:]).mean() + 0.1


def test_weights_of_layers_are_a_sum_over_layers_of_every_piece():
    weights = LayerWeights(3, 4)
    with torch.no_grad():
        weights.logits.copy_(torch.tensor([0.0, 1.0, 2.0]))
    rows = torch.randn(5, 2 * 3 * 4)
    share = torch.tensor([0.0, 1.0, 2.0]).softmax(dim=0)
    pieces = rows.view(5, 2, 3, 4)
    expected = sum(share[layer] * pieces[:, :, layer] for layer in range(3)).flatten(1)
    assert torch.allclose(weights(rows), expected, atol=1e-6)


def test_dropout_and_depth_depend_on_the_seed_alone():
    train, labels = make_clusters(60)
    probe = Linear(hidden=16, hidden_layers=2, dropout=0.3, epochs=3, choice="last")
    torch.manual_seed(0)
    first = probe.predict(make_data(train, labels, train))
    torch.manual_seed(1)
    second = probe.predict(make_data(train, labels, train))
    assert np.array_equal(first, second)
    without = replace(probe, dropout=0.0).predict(make_data(train, labels, train))
    assert not np.array_equal(first, without)


def test_patience_ends_training_that_no_longer_improves():
    rows, labels = make_clusters(120)
    data = replace(make_data(rows, labels, rows), train=np.arange(90), valid=np.arange(90, 120))
    model = build_classifier(rows.shape[1], 3, seed=0)
    sizes = []

    def read(items):
        sizes.append(len(items))
        return (torch.from_numpy(data.features[items]),)

    schedule = CosineDecay(rate=0.01, batch=90, epochs=5000)
    train_and_predict(model, data, read, schedule, select=True, patience=3)
    assert 4 <= sizes.count(90) < 1000


@pytest.mark.parametrize(
    "settings",
    [
        {"hidden_layers": 2},
        {"dropout": 1.0},
        {"patience": 0},
        {"patience": 3, "choice": "last"},
        {"weigh_layers": True},
    ],
)
def test_options_that_have_no_effect_or_no_meaning_are_errors(settings):
    with pytest.raises(PartError):
        build({"type": "ablate.probing.neural.Linear", **settings}, expect=Linear)


def test_tuning_chooses_the_point_that_is_best_on_validation_clips():
    features, task = make_task(400)
    points = [Logistic(strength=strength) for strength in (1e-6, 0.1)]
    valid = [score_probe(point, features, task)["valid"] for point in points]
    tuned = score_probe(Tuned(probe=Logistic(), grid={"strength": [1e-6, 0.1]}), features, task)
    assert tuned["test"] == score_probe(points[int(np.argmax(valid))], features, task)["test"]


def test_a_probe_that_predicts_nothing_cannot_be_tuned():
    with pytest.raises(ValueError, match=r"Verification does not; use it .* without `Tuned`"):
        Tuned(probe=Verification(), grid={"trials": ["a.txt"]})


def test_tuning_never_reads_the_labels_of_test_clips():
    features, task = make_task(120)
    tuned = Tuned(probe=KNN(), grid={"k": [1, 5, 20], "temperature": [0.05, 0.5]})
    labels = task.labels.copy()
    labels[task.parts["test"]] = 0
    seen = score_probe(tuned, features, task)["valid"]
    assert score_probe(tuned, features, replace(task, labels=labels))["valid"] == seen


@pytest.mark.parametrize(
    ("settings", "other"),
    [
        ({"shots": 4}, {"shots": 5}),
        ({"label_share": 0.3}, {"label_share": 0.9}),
        ({"metric": "macro_f1"}, {"metric": "accuracy"}),
    ],
)
def test_settings_of_the_tuned_probe_count_as_those_of_tuned(settings, other):
    features, task = make_task(240)
    noise = np.random.default_rng(0).normal(size=features.rows.shape) * 4  # else all are right
    features = Features.from_vectors((features.rows + noise).astype(np.float32))
    grid = {"strength": [1e-4, 1.0]}
    inner = score_probe(Tuned(probe=Logistic(**settings), grid=grid), features, task)
    assert inner == score_probe(Tuned(probe=Logistic(), grid=grid, **settings), features, task)
    assert inner != score_probe(Tuned(probe=Logistic(), grid=grid), features, task)
    with pytest.raises(ValueError, match="keep one of them"):
        Tuned(probe=Logistic(**settings), grid=grid, **other)


def test_tuning_chooses_by_the_metric_of_the_score():
    features, task = make_task(400)
    points = [KNN(k=k, temperature=t) for k in (1, 3, 9, 27) for t in (0.05, 0.5)]
    for metric in ("accuracy", "macro_f1"):
        valid = [score_probe(replace(p, metric=metric), features, task)["valid"] for p in points]
        grid = {"k": [1, 3, 9, 27], "temperature": [0.05, 0.5]}
        tuned = score_probe(Tuned(probe=KNN(), grid=grid, metric=metric), features, task)
        assert tuned["valid"] == max(valid)


def test_shots_with_folds_are_drawn_from_the_folds_that_are_trained_on():
    features, task = make_task(60)
    folds = {str(fold): np.flatnonzero(np.arange(60) // 20 == fold) for fold in range(3)}
    task = replace(task, parts=folds, folded=True)
    for split in task.splits():
        train, valid, _ = divide_clips(Linear(shots=1), task, split, 0)
        assert sorted(task.labels[train]) == [0, 1, 2]
        assert not set(train) & {*valid, *np.concatenate(list(split.query.values()))}
    assert score_probe(Linear(shots=1, seeds=1), features, task)["test"] is not None


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ({"metric": ["map"]}, "`grid` cannot vary `metric`"),
        ({"k": [1], "views": [{}], "shots": [1]}, "cannot vary `views`, `shots`"),
        ({}, "one or more settings"),
        ({"k": []}, "one or more settings"),
        ({"kk": [1]}, "unknown key `kk`"),
        ({"k": ["ten"]}, "expected int"),
        ({"k": [0]}, "`k` must be at least 1"),
        ({"k": list(range(1, 300))}, "299 points"),
    ],
)
def test_a_grid_that_cannot_be_tried_is_an_error(grid, message):
    settings = {"type": "ablate.probing.tuned.Tuned", "probe": resolve(KNN()), "grid": grid}
    with pytest.raises(PartError, match=message):
        build(settings, expect=Tuned)


def test_a_tuned_probe_is_written_and_read_back():
    tuned = Tuned(probe=KNN(k=3), grid={"k": [1, 5]})
    assert build(resolve(tuned), expect=Tuned) == tuned
