"""A score that no probe would give is refused before anything is trained, where it is asked for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from ablate.core.records.plan import EvaluatePlan, PlanReply, ScoreView
from ablate.parts import PartError, build
from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN
from ablate.probing.probe import AbstractProbe
from ablate.probing.views import Views
from ablate.worker.evaluate import ProbeRunner
from ablate.worker.trial import Trial, open_audio
from tests.worker.plan_trials import plan_trials

KNN_3 = {"type": "ablate.probing.knn.KNN", "k": 3}
DEEP = {**KNN_3, "views": {"poolings": ["max"], "layers": ["each", "mean"]}}
SUMMARY = {**KNN_3, "views": {"poolings": ["mean", "summary"]}}
Plan = Callable[..., PlanReply]


@pytest.fixture
def planned(settings: dict[str, Any], cache: Path) -> Plan:
    def make(*changes: dict[str, Any], probes: dict[str, Any], **asked: Any) -> PlanReply:
        trials = [{**settings, **change} for change in changes or ({},)]
        return plan_trials(trials, probes, cache, **asked)

    return make


@pytest.fixture
def events(tmp_path: Path) -> dict[str, Any]:
    """A source of tones that sound for a part of their clips."""
    lines = ["path,label,split"]
    for index in range(8):
        wave = 0.3 * np.sin(2 * np.pi * (300, 900)[index % 2] * np.arange(16000) / 16000)
        soundfile.write(tmp_path / f"{index}.wav", wave, 16000)
        lines.append(f"{index}.wav,{'ab'[index % 2]}@0-0.5,{('train', 'test')[index // 4]}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines))
    manifest = str(tmp_path / "manifest.csv")
    return {"type": "ablate.audio.sources.Folder", "manifest": manifest, "task": "tones"}


def asked(pooling: str, *probes: str) -> tuple[ScoreView, ...]:
    return tuple(ScoreView(probe=probe, pooling=pooling) for probe in probes or ["knn"])


@pytest.mark.parametrize(
    ("probe", "pooling", "told"),
    [
        (KNN_3, "max", "probe `knn` does not read `max`"),
        (KNN_3, "layer1.mean", r"`layer1.mean`; known: concat_freq, mean, mean_std"),
        (KNN_3, "mean_layers.mean", "does not read `mean_layers.mean`"),
        (DEEP, "mean", "does not read `mean`"),
        (DEEP, "layer2.max", r"`layer2.max` of an encoder of 1 layers .*did you mean `layer1.max`"),
    ],
)
def test_a_score_that_its_probe_does_not_give_is_refused(
    planned: Plan, probe: dict[str, Any], pooling: str, told: str
) -> None:
    with pytest.raises(PartError, match=rf"^`score`: .*{told}.*`probes.knn.views`"):
        planned(probes={"knn": probe}, scores=asked(pooling))
    look = EvaluatePlan(every=9, clips=9, probe="knn", pooling=pooling)
    with pytest.raises(PartError, match=rf"^`evaluate.score`: .*{told}"):
        planned(probes={"knn": probe}, evaluate=look)


@pytest.mark.parametrize(
    ("probe", "pooling"),
    [(KNN_3, "concat_freq"), (DEEP, "layer1.max"), (DEEP, "mean_layers.max")],
)
def test_a_score_that_its_probe_gives_is_planned(
    planned: Plan, probe: dict[str, Any], pooling: str
) -> None:
    [entry] = planned(probes={"knn": probe}, scores=asked(pooling)).trials
    assert entry.problems == ()


def test_each_probe_that_gives_the_score_must_have_its_view(planned: Plan) -> None:
    with pytest.raises(PartError, match="probe `other` does not read `mean`"):
        planned(probes={"knn": KNN_3, "other": DEEP}, scores=asked("mean", "knn", "other"))


def test_a_layer_must_be_there_in_every_encoder(planned: Plan, settings: dict[str, Any]) -> None:
    deeper = {"encoder": {**settings["encoder"], "layers": 2}}
    [entry] = planned(deeper, probes={"knn": DEEP}, scores=asked("layer2.max")).trials
    assert entry.problems == ()
    with pytest.raises(PartError, match="encoder of 1 layers"):
        planned(deeper, {}, probes={"knn": DEEP}, scores=asked("layer2.max"))


def test_a_summary_is_asked_only_of_an_encoder_that_has_one(
    planned: Plan, settings: dict[str, Any]
) -> None:
    having = {"encoder": {**settings["encoder"], "summary": True}}
    lacking, fine = planned({}, having, probes={"knn": SUMMARY}).trials
    assert fine.problems == ()
    [problem] = lacking.problems
    assert problem.path == ("encoder",)
    assert "ViT has no summary, but the `views` of probe `knn` need it" in problem.message


@pytest.mark.parametrize("heard", ["in training", "by the probe alone"])
def test_a_score_of_whole_clips_is_not_asked_of_events(
    planned: Plan, settings: dict[str, Any], events: dict[str, Any], heard: str
) -> None:
    change = {"encoder": {**settings["encoder"], "summary": True}}
    probe = SUMMARY
    if heard == "in training":
        change["data"] = events
    else:
        probe = {**SUMMARY, "tasks": events}
    assert planned(change, probes={"knn": probe}, scores=asked("mean")).trials
    with pytest.raises(PartError, match=r"^`score`: `knn.summary` .*`tones` needs the times of events"):
        planned(change, probes={"knn": probe}, scores=asked("summary"))


@pytest.mark.parametrize(
    ("probe", "given"),
    [
        (KNN(views=Views(poolings=("mean", "summary"))), {"mean"}),
        (Attentive(epochs=1, seeds=1), set()),
    ],
)
def test_what_tells_of_whole_clips_gives_events_no_score(
    settings: dict[str, Any],
    events: dict[str, Any],
    cache: Path,
    tmp_path: Path,
    probe: AbstractProbe,
    given: set[str],
) -> None:
    encoder = {**settings["encoder"], "summary": True}
    trial = build({**settings, "encoder": encoder, "data": events}, expect=Trial)
    audio = open_audio(trial.data, trial.mel, cache)
    runner, [task] = (
        ProbeRunner(tmp_path, trial.random_init, audio, torch.device("cpu")),
        audio.tasks,
    )
    features = runner.compute_features(task, [probe], cache, tmp_path)
    assert runner.compute_scores(probe, task, features).keys() == given
