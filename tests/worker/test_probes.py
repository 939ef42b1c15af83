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
from ablate.core.records.score import ScoreFile
from ablate.parts import PartError, build
from ablate.probing.attentive import Attentive
from ablate.probing.knn import KNN
from ablate.probing.probe import AbstractProbe
from ablate.probing.views import Views
from ablate.worker.audio_data import open_audio
from ablate.worker.probe_runner import ProbeRunner
from ablate.worker.trial import Trial
from tests.worker.runs import create_run_folder, plan_trials, run_folder

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


def write_tones(folder: Path, labels: list[str]) -> dict[str, Any]:
    """Writes tones, two thirds to train on; returns the settings of their source."""
    lines = ["path,label,split"]
    for index, label in enumerate(labels):
        wave = 0.3 * np.sin(2 * np.pi * 300 * 1.2**index * np.arange(8000) / 16000)
        soundfile.write(folder / f"{index}.wav", wave, 16000)
        lines.append(f"{index}.wav,{label},{('train', 'train', 'test')[index % 3]}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    manifest = str(folder / "manifest.csv")
    return {"type": "ablate.audio.sources.Folder", "manifest": manifest, "task": "tones"}


THREE = "abcbcacababc"  # each class is trained on and tested
PITCHES = [f"pitch={300 * 1.2**index:.1f}" for index in range(12)]
SPLIT = {"type": "ablate.probing.neural.Linear", "seeds": 1}


@pytest.mark.parametrize(
    ("probe", "labels", "message"),
    [
        ({**KNN_3, "metric": "eer"}, THREE, "p.metric`: task `tones` has no metric `eer` on"),
        ({**KNN_3, "metric": "map"}, THREE, "the test clips, but accuracy, macro_f1; choose"),
        ({**KNN_3, "metric": "r2"}, ["a@0-0.2", "b@0-0.2"] * 6, "has no metric `r2` .*onset_f1"),
        ({**KNN_3, "metric": "accuracy"}, PITCHES, "but r2, mae"),
        ({**KNN_3, "shots": 2}, ["a;b", "b", "a"] * 4, "p.shots`: .*needs one class per clip"),
        ({**KNN_3, "shots": 2}, PITCHES, "p.shots`: .*have numbers; use `label_share`"),
        ({**SPLIT, "label_share": 0.1}, ["a;b", "b", "a"] * 4, "p.label_share`: 0.1 of .*one clip"),
        (
            {
                "type": "ablate.probing.tuned.Tuned",
                "grid": {"k": [1, 3]},
                "probe": {**KNN_3, "metric": "eer"},
            },
            THREE,
            "p.metric`: task `tones` has no metric `eer`",
        ),
        (
            {"type": "ablate.probing.verification.Verification"},
            "aaaaaaaabbbb",
            "probes.p`: the test clips of `tones` have",
        ),
    ],
)
def test_settings_that_do_not_suit_a_task_are_reported(
    plan: Plan, tmp_path: Path, probe: dict[str, Any], labels: list[str], message: str
) -> None:
    tasks = write_tones(tmp_path, list(labels))
    if "Verification" in probe["type"]:  # one test clip of one speaker, and no other
        text = (tmp_path / "manifest.csv").read_text()
        (tmp_path / "manifest.csv").write_text(text.replace("b,test", "b,train"))
    with pytest.raises(PartError, match=message):
        plan(probes={"p": {**probe, "tasks": tasks}})


def test_a_score_of_classes_cannot_come_from_numbers(plan: Plan, tmp_path: Path) -> None:
    probe = {"type": "ablate.probing.linear.Logistic", "tasks": write_tones(tmp_path, PITCHES)}
    message = "`score`: Logistic cannot score task `tones`, which predicts numbers"
    with pytest.raises(PartError, match=message):
        plan(probes={"knn": probe}, scores=list_scores("mean"))


def test_a_list_of_trials_cannot_be_followed_during_training(plan: Plan) -> None:
    probe = {"type": "ablate.probing.verification.Verification", "trials": "trials.txt"}
    evaluate = EvaluatePlan(every=9, clips=9, probe="p", pooling="mean")
    with pytest.raises(PartError, match="`evaluate`: `p` scores test clips only"):
        plan(probes={"p": probe}, evaluate=evaluate)


def test_a_study_scores_numbers_pairs_and_noisy_clips(
    settings: dict[str, Any], cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "pairs").mkdir()
    pitches, speakers = write_tones(tmp_path, PITCHES), write_tones(tmp_path / "pairs", SPEAKERS)
    (tmp_path / "trials.txt").write_text("1 2.wav 8.wav\n0 2.wav 5.wav\n0 8.wav 11.wav\n")
    noisy = {"type": "ablate.audio.corruption.Corrupted", "snr_db": 10.0, "source": speakers}
    verification = "ablate.probing.verification.Verification"
    trials = str(tmp_path / "trials.txt")
    probes = {
        "ridge": {"type": "ablate.probing.linear.Ridge", "tasks": pitches},
        "pairs": {"type": verification, "tasks": speakers, "trials": trials},
        "noisy": {"type": "ablate.probing.linear.Logistic", "tasks": noisy},
    }
    reply = plan_trials([settings], probes, cache, scores=list_scores("mean", *probes))
    [trial] = reply.get_resolved()
    folder = create_run_folder(tmp_path / "runs", trial.random_init)
    run_folder(folder, cache, reply.probes)
    scores = {}
    for file in folder.glob("probes/tones/*.json"):
        score = ScoreFile.read(file)
        scores[score.settings["type"].rpartition(".")[2]] = score.scores["mean"]
    assert scores.keys() == {"Ridge", "Verification", "Logistic"}
    assert scores["Ridge"].metric == "r2"
    assert scores["Ridge"].metrics.keys() == {"r2", "mae"}
    assert scores["Verification"].metric == "eer"
    assert 0 <= scores["Verification"].test <= 100
    assert scores["Logistic"].metric == "accuracy"


SPEAKERS = ["s", "t", "s", "t", "s", "t"] * 2
