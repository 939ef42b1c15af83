"""Probes may use a data set of their own instead of the clips that trials train on."""

import copy
from pathlib import Path

import numpy as np
import pytest
import soundfile

import ablate.worker.audio_data
from ablate.core.records.planning import PlanReply
from ablate.parts import PartError
from ablate.runs import store
from tests.worker.runs import create_run_folder, plan_trials, run_folder

KNN = {"type": "ablate.probing.knn.KNN", "k": 3}


def write_tones(
    folder: Path, *, labelled: bool = True, task: str = "esc50", rate: int = 16000
) -> dict:
    """Writes low and high tones and their manifest; returns the settings of their source."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,split,task" if labelled else "path"]
    for index in range(16):
        hertz, split = (300, 900)[index % 2] + 10 * index, ("train", "test")[index // 8]
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(rate // 2) / rate)
        soundfile.write(folder / f"{index}.wav", wave, rate)
        columns = f",{'ab'[index % 2]},{split},{task}" if labelled else ""
        lines.append(f"{index}.wav{columns}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    source = describe_source(folder)
    return source if labelled else {**source, "label": ""}


def describe_source(folder: Path) -> dict:
    """Returns the settings of a source without writing its files."""
    return {"type": "ablate.audio.sources.Folder", "manifest": str(folder / "manifest.csv")}


@pytest.fixture(autouse=True)
def _close_audio(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes each test open its audio, which a process otherwise opens once."""
    monkeypatch.setattr(ablate.worker.audio_data, "_open", {})


def plan(settings: dict, cache: Path, **probes: dict) -> PlanReply:
    return plan_trials([copy.deepcopy(settings)], probes, cache)


def run_planned(reply: PlanReply, runs: Path, cache: Path, probes: dict | None = None) -> Path:
    """Runs the only trial of a plan to its end; returns its folder."""
    [trial] = reply.get_resolved()
    folder = create_run_folder(runs, trial)
    ended = run_folder(folder, cache, reply.probes if probes is None else probes)
    assert ended.state == "done", ended
    return folder


def list_scored_tasks(folder: Path) -> list[str]:
    """Lists the task of each score file."""
    return sorted(file.parent.name for file in folder.glob("probes/*/*.json"))


@pytest.fixture
def short(settings: dict) -> dict:
    return {**settings, "budget": {"steps": 2, "batch": 4}}


def test_a_probe_with_its_own_data_set_scores_only_on_that(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    other = {**KNN, "tasks": write_tones(tmp_path / "tones")}
    reply = plan(short, cache, knn=other)
    folder = run_planned(reply, tmp_path / "runs", cache)
    assert list_scored_tasks(folder) == ["esc50"]
    assert reply.probes["knn"]["content"]["tasks"] == ["esc50"]


def test_the_data_set_of_a_probe_does_not_change_the_fingerprint(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    other = {**KNN, "tasks": write_tones(tmp_path / "tones")}
    [alone], [beside] = (plan(short, cache, knn=probe).get_resolved() for probe in (KNN, other))
    assert (alone.fingerprint, alone.settings) == (beside.fingerprint, beside.settings)
    assert alone.random_init == beside.random_init


def test_a_changed_data_set_of_a_probe_is_scored_again_without_training(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    first = plan(short, cache, knn={**KNN, "tasks": write_tones(tmp_path / "tones")})
    folder = run_planned(first, tmp_path / "runs", cache)
    weights = (folder / "encoder.safetensors").stat().st_mtime_ns
    assert store.find_missing_probes(folder, first.probes) == []
    ablate.worker.audio_data._open.clear()
    soundfile.write(tmp_path / "tones" / "15.wav", np.sin(np.arange(9000)), 16000)
    second = plan(short, cache, knn={**KNN, "tasks": describe_source(tmp_path / "tones")})
    assert store.find_missing_probes(folder, second.probes) == ["knn"]
    assert run_planned(second, tmp_path / "runs", cache) == folder
    assert (folder / "encoder.safetensors").stat().st_mtime_ns == weights
    assert list_scored_tasks(folder) == ["esc50", "esc50"]
    assert store.find_missing_probes(folder, second.probes) == []


def test_clips_that_changed_after_the_plan_fail_the_run(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    reply = plan(short, cache, knn={**KNN, "tasks": write_tones(tmp_path / "tones")})
    ablate.worker.audio_data._open.clear()
    manifest = tmp_path / "tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("0.wav,a", "0.wav,b"))
    [trial] = reply.get_resolved()
    ended = run_folder(create_run_folder(tmp_path / "runs", trial), cache, reply.probes)
    assert ended.state == "failed"
    assert "scores have changed since it was planned" in ended.reason


def test_training_clips_need_no_labels_if_probes_have_their_own_data_set(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    plain = {**short, "data": write_tones(tmp_path / "plain", labelled=False)}
    reply = plan(plain, cache, knn={**KNN, "tasks": write_tones(tmp_path / "tones")})
    assert [data.tasks.keys() for data in reply.data] == [set(), {"esc50"}]
    assert [data.pretraining_clips for data in reply.data] == [16, 0]
    assert [data.synthetic for data in reply.data] == [False, False]
    assert reply.get_resolved()[0].facts.data == reply.data[0].digest
    assert list_scored_tasks(run_planned(reply, tmp_path / "runs", cache)) == ["esc50"]
    ablate.worker.audio_data._open.clear()
    [unlabelled] = plan(plain, cache, knn=KNN).trials
    assert "no clip has a label, so there is nothing to probe" in unlabelled.problems[0].message


def test_probes_with_and_without_their_own_data_set_score_the_same_run(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    other = {**KNN, "tasks": write_tones(tmp_path / "tones")}
    reply = plan(short, cache, own=KNN, other=other)
    folder = run_planned(reply, tmp_path / "runs", cache, {"own": reply.probes["own"]})
    assert store.find_missing_probes(folder, reply.probes) == ["other"]
    run_planned(reply, tmp_path / "runs", cache)
    assert store.find_missing_probes(folder, reply.probes) == []
    assert list_scored_tasks(folder) == ["environment", "esc50", "music", "speech"]


def test_an_unreadable_data_set_is_a_problem_of_its_probe(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    source = write_tones(tmp_path / "tones")
    (tmp_path / "tones" / "3.wav").unlink()
    with pytest.raises(PartError, match=r"`probes.knn.tasks`: `3.wav`: no such file"):
        plan(short, cache, knn={**KNN, "tasks": source})


def test_the_plan_has_weights_and_domains_of_x_ares_tasks_and_lists_the_missing(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    reply = plan(short, cache, knn={**KNN, "tasks": write_tones(tmp_path / "tones")})
    _, probed = reply.data
    assert probed.tasks["esc50"].weight == 400
    assert probed.tasks["esc50"].domain == "environment"
    missing = {task.task: task for task in probed.missing}
    assert len(missing) == 21
    assert missing["librispeech"].weight == 10000
