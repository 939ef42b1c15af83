"""A score that a probe cannot give is reported at its setting before anything is trained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ablate.core.records.plan import EvaluatePlan, ScoreView
from ablate.core.records.planning import PlanReply
from ablate.parts import PartError, build
from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN
from ablate.probing.probe import AbstractProbe
from ablate.probing.views import Views
from ablate.worker.probe_runner import ProbeRunner
from ablate.worker.trial import Trial, open_audio
from tests.worker.runs import plan_trials

KNN_3 = {"type": "ablate.probing.knn.KNN", "k": 3}
DEEP = {**KNN_3, "views": {"poolings": ["max"], "layers": ["each", "mean"]}}
SUMMARY = {**KNN_3, "views": {"poolings": ["mean", "summary"]}}
Plan = Callable[..., PlanReply]


@pytest.fixture
def plan(settings: dict[str, Any], cache: Path) -> Plan:
    """Returns a function that plans trials with changed settings."""

    def plan_changed(*changes: dict[str, Any], probes: dict[str, Any], **fields: Any) -> PlanReply:
        trials = [{**settings, **change} for change in changes or ({},)]
        return plan_trials(trials, probes, cache, **fields)

    return plan_changed


@pytest.fixture
def events(tmp_path: Path) -> dict[str, Any]:
    """Writes tones with the times of events; returns the settings of their source."""
    lines = ["path,label,split"]
    for index in range(8):
        wave = 0.3 * np.sin(2 * np.pi * (300, 900)[index % 2] * np.arange(16000) / 16000)
        soundfile.write(tmp_path / f"{index}.wav", wave, 16000)
        lines.append(f"{index}.wav,{'ab'[index % 2]}@0-0.5,{('train', 'test')[index // 4]}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    manifest = str(tmp_path / "manifest.csv")
    return {"type": "ablate.audio.sources.Folder", "manifest": manifest, "task": "tones"}


def list_scores(pooling: str, *probes: str) -> tuple[ScoreView, ...]:
    return tuple(ScoreView(probe=probe, pooling=pooling) for probe in probes or ["knn"])


@pytest.mark.parametrize(
    ("probe", "pooling", "message"),
    [
        (KNN_3, "max", "probe `knn` does not read `max`"),
        (KNN_3, "layer1.mean", r"`layer1.mean`; known: concat_freq, mean, mean_std"),
        (KNN_3, "mean_layers.mean", "does not read `mean_layers.mean`"),
        (DEEP, "mean", "does not read `mean`"),
        (DEEP, "layer2.max", r"`layer2.max` of an encoder of 1 layers .*did you mean `layer1.max`"),
    ],
)
def test_a_view_that_a_probe_does_not_read_is_reported(
    plan: Plan, probe: dict[str, Any], pooling: str, message: str
) -> None:
    with pytest.raises(PartError, match=rf"^`score`: .*{message}.*`probes.knn.views`"):
        plan(probes={"knn": probe}, scores=list_scores(pooling))
    evaluate = EvaluatePlan(every=9, clips=9, probe="knn", pooling=pooling)
    with pytest.raises(PartError, match=rf"^`evaluate.score`: .*{message}"):
        plan(probes={"knn": probe}, evaluate=evaluate)


@pytest.mark.parametrize(
    ("probe", "pooling"),
    [(KNN_3, "concat_freq"), (DEEP, "layer1.max"), (DEEP, "mean_layers.max")],
)
def test_a_view_that_a_probe_reads_is_accepted(
    plan: Plan, probe: dict[str, Any], pooling: str
) -> None:
    [entry] = plan(probes={"knn": probe}, scores=list_scores(pooling)).trials
    assert entry.problems == ()


def test_every_probe_of_a_score_must_read_its_view(plan: Plan) -> None:
    with pytest.raises(PartError, match="probe `other` does not read `mean`"):
        plan(probes={"knn": KNN_3, "other": DEEP}, scores=list_scores("mean", "knn", "other"))


def test_every_encoder_must_have_the_layer_of_a_view(plan: Plan, settings: dict[str, Any]) -> None:
    deeper = {"encoder": {**settings["encoder"], "layers": 2}}
    [entry] = plan(deeper, probes={"knn": DEEP}, scores=list_scores("layer2.max")).trials
    assert entry.problems == ()
    with pytest.raises(PartError, match="encoder of 1 layers"):
        plan(deeper, {}, probes={"knn": DEEP}, scores=list_scores("layer2.max"))


def test_a_summary_view_needs_an_encoder_with_a_summary(
    plan: Plan, settings: dict[str, Any]
) -> None:
    with_summary = {"encoder": {**settings["encoder"], "summary": True}}
    lacking, fine = plan({}, with_summary, probes={"knn": SUMMARY}).trials
    assert fine.problems == ()
    [problem] = lacking.problems
    assert problem.path == ("encoder",)
    assert "ViT has no summary, but the `views` of probe `knn` need it" in problem.message


@pytest.mark.parametrize("data_set", ["of the trial", "of the probe"])
def test_a_view_with_one_vector_per_clip_cannot_score_events(
    plan: Plan, settings: dict[str, Any], events: dict[str, Any], data_set: str
) -> None:
    change = {"encoder": {**settings["encoder"], "summary": True}}
    probe = SUMMARY
    if data_set == "of the trial":
        change["data"] = events
    else:
        probe = {**SUMMARY, "tasks": events}
    assert plan(change, probes={"knn": probe}, scores=list_scores("mean")).trials
    with pytest.raises(
        PartError, match=r"^`score`: `knn.summary` .*`tones` needs the times of events"
    ):
        plan(change, probes={"knn": probe}, scores=list_scores("summary"))


@pytest.mark.parametrize(
    ("probe", "poolings"),
    [
        (KNN(views=Views(poolings=("mean", "summary"))), {"mean"}),
        (Attentive(epochs=1, seeds=1), set()),
    ],
)
def test_only_views_with_times_score_events(
    settings: dict[str, Any],
    events: dict[str, Any],
    cache: Path,
    tmp_path: Path,
    probe: AbstractProbe,
    poolings: set[str],
) -> None:
    encoder = {**settings["encoder"], "summary": True}
    trial = build({**settings, "encoder": encoder, "data": events}, expect=Trial)
    audio = open_audio(trial.data, trial.mel, cache)
    runner, [task] = (
        ProbeRunner(tmp_path, trial.random_init, audio, torch.device("cpu")),
        audio.tasks,
    )
    features = runner.compute_features(task, [probe], cache, tmp_path)
    assert runner.compute_scores(probe, task, features, {}).keys() == poolings
