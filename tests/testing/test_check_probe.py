"""Tests `check_probe`: probes with one fault are found, correct ones are not."""

from dataclasses import dataclass

import numpy as np
import pytest

from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN, Retrieval, XaresKNN
from ablate.probing.linear import Logistic
from ablate.probing.neural import Linear
from ablate.probing.probe import AbstractProbe, OutdatedProbeError
from ablate.testing import check_probe
from ablate.training.finetuning import FineTuning

RNG = {"calls": 0}
MEANS: dict[str, list[np.ndarray]] = {}
KEPT = np.zeros((30, 3), dtype=np.float32)
LINEAR = Linear(epochs=60, rate=0.01)
ATTENTIVE = Attentive(epochs=60, rate=0.01)


@pytest.mark.parametrize(
    "probe",
    [
        KNN(k=3),
        XaresKNN(k=3),
        Retrieval(),
        Logistic(),
        Linear(epochs=60),
        Attentive(epochs=60, rate=0.01),
    ],
    ids=repr,
)
def test_our_probes_pass(probe):
    check_probe(probe)


@pytest.mark.parametrize("probe", [KNN(k=3), Logistic(), Linear(epochs=200, rate=0.01)], ids=repr)
def test_our_probes_pass_with_several_labels(probe):
    check_probe(probe, multilabel=True)


def test_the_error_for_a_probe_of_audio_suggests_a_study():
    with pytest.raises(ValueError, match="test it with a study"):
        check_probe(FineTuning())


@dataclass(frozen=True, kw_only=True)
class FaultyProbe(AbstractProbe):
    """The nearest mean, with one fault."""

    fault: str = "none"

    def predict(self, data):
        features, train = data.features, data.train
        if self.fault == "spread of the query":
            features = features * features[data.query].max(axis=0)
        if self.fault == "spread of all":
            features = features / features.std(axis=0)
        if self.fault == "items to select by":
            train = np.concatenate([train, data.valid])
        rows, labels = features[train], data.labels[train]
        if self.fault == "labels of the query":
            rows = data.features
            labels = np.where(data.labels < 0, 0, data.labels)
        means = [rows[labels == label].mean(axis=0) for label in range(data.num_classes)]
        if self.fault == "keeps means":
            means = MEANS.setdefault("means", means)
        query = features[data.query]
        scores = -np.stack([np.linalg.norm(query - mean, axis=1) for mean in means], 1)
        scores = scores.astype(np.float32)
        match self.fault:
            case "global generator":
                scores += np.random.rand()
            case "own generator":
                RNG["calls"] += 1
                scores += RNG["calls"]
            case "in place":
                data.features[:] += 1
            case "double":
                return scores.astype(np.float64)
            case "upside down":
                return -scores
            case "shuffles items":
                data.train[:] = data.train[::-1].copy()
            case "one array":
                KEPT[:] = scores if len(scores) == len(KEPT) else 0
                return KEPT[: len(scores)]
            case "squeezed":
                return scores.squeeze()
            case "numbers of items":
                return np.eye(3, dtype=np.float32)[data.query % 3]
            case "one column":
                return scores[:, :1]
            case "order":
                scores += np.arange(len(scores))[:, None].astype(np.float32)
            case "not finite":
                scores[0] = np.nan
            case "list":
                return scores.tolist()
        return scores


def test_a_probe_without_a_fault_passes():
    check_probe(FaultyProbe())


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("labels of the query", "labels of the items to predict"),
        ("global generator", "one seed gave two predictions"),
        ("own generator", "one seed gave two predictions"),
        ("in place", "changed in place"),
        ("double", "not float32"),
        ("upside down", "higher scores must mean"),
        ("one column", "scores are"),
        ("order", "order of the items"),
        ("not finite", "not finite"),
        ("list", "no array"),
        ("spread of the query", "alone differs|other items to predict"),
        ("spread of all", "features of other items to predict"),
        ("items to select by", "`needs_validation` is false"),
        ("keeps means", "keep nothing between calls"),
        ("shuffles items", "the train were changed in place"),
        ("one array", "earlier call has returned|differs|depend"),
        ("squeezed", "alone differs"),
        ("numbers of items", "classes are far apart"),
    ],
)
def test_a_fault_is_an_error(fault, message):
    MEANS.clear()
    with pytest.raises(AssertionError, match=message):
        check_probe(FaultyProbe(fault=fault))


def test_a_probe_that_overrides_a_method_by_its_former_name_is_an_error():
    def score_events(self, features, task, split, seed):
        return {"test": {"accuracy": 0.0}}

    with pytest.raises(OutdatedProbeError) as caught:
        type("Old", (KNN,), {"score_events": score_events, "__module__": "my_lab"})
    for line in ("score_events(self, features, task, split, seed)", "def score_split(self, "):
        assert line in str(caught.value)
    assert "`my_lab.Old` defines `score_events`" in str(caught.value)
