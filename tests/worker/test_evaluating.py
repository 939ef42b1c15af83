"""Probes may examine on other clips than those that are trained on; a score is of those clips."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

import ablate.worker.trial
from ablate.core.records.plan import PlanReply
from ablate.parts import PartError
from ablate.runs import store
from ablate.runs.store import write_config
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from tests.worker.plan_trials import plan_trials

KNN = {"type": "ablate.probing.knn.KNN", "k": 3}


def sounds(place: Path, *, labelled: bool = True, task: str = "esc50", rate: int = 16000) -> dict:
    """Writes low and high tones and a manifest; gives the settings of a source."""
    place.mkdir(parents=True, exist_ok=True)
    lines = ["path,label,split,task" if labelled else "path"]
    for index in range(16):
        hertz, split = (300, 900)[index % 2] + 10 * index, ("train", "test")[index // 8]
        wave = 0.3 * np.sin(2 * np.pi * hertz * np.arange(rate // 2) / rate)
        soundfile.write(place / f"{index}.wav", wave, rate)
        told = f",{'ab'[index % 2]},{split},{task}" if labelled else ""
        lines.append(f"{index}.wav{told}")
    (place / "manifest.csv").write_text("\n".join(lines))
    source = {"type": "ablate.audio.sources.Folder", "manifest": str(place / "manifest.csv")}
    return source if labelled else {**source, "label": ""}


@pytest.fixture(autouse=True)
def _opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sounds are kept open by a process; each test is one of its own."""
    monkeypatch.setattr(ablate.worker.trial, "_open", {})


def planned(settings: dict, cache: Path, **probes: dict) -> PlanReply:
    return plan_trials([copy.deepcopy(settings)], probes, cache)


def done(answer: PlanReply, runs: Path, cache: Path, probes: dict | None = None) -> Path:
    """Runs a planned trial, and gives its folder."""
    [entry] = answer.get_resolved()
    folder = runs / entry.fingerprint
    write_config(folder, kind="jepa", settings=entry.settings)
    wanted = answer.probes if probes is None else probes
    ended = run(
        folder, wanted, RunContext(torch.device("cpu"), cache, lambda _: None, StopSignal())
    )
    assert ended.state == "done", ended
    return folder


def scores(folder: Path) -> dict[str, dict]:
    return {
        f"{file.parent.name}/{file.stem}": json.loads(file.read_text())
        for file in sorted(folder.glob("probes/*/*.json"))
    }


@pytest.fixture
def short(settings: dict) -> dict:
    return {**settings, "budget": {"steps": 2, "batch": 4}}


def test_a_probe_examines_on_the_clips_that_it_is_given_and_no_others(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    other = {**KNN, "tasks": sounds(tmp_path / "tones")}
    answer = planned(short, cache, knn=other)
    folder = done(answer, tmp_path / "runs", cache)
    assert [name.split("/")[0] for name in scores(folder)] == ["esc50"]
    assert answer.probes["knn"]["content"]["tasks"] == ["esc50"]


def test_what_is_examined_on_does_not_change_what_is_trained(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    other = {**KNN, "tasks": sounds(tmp_path / "tones")}
    [alone], [beside] = (planned(short, cache, knn=probe).get_resolved() for probe in (KNN, other))
    assert (alone.fingerprint, alone.settings) == (beside.fingerprint, beside.settings)
    assert alone.random_init == beside.random_init


def test_other_clips_to_examine_on_are_scored_anew_and_nothing_is_trained(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    first = planned(short, cache, knn={**KNN, "tasks": sounds(tmp_path / "tones")})
    folder = done(first, tmp_path / "runs", cache)
    weights = (folder / "encoder.safetensors").stat().st_mtime_ns
    assert store.find_missing_probes(folder, first.probes) == []
    ablate.worker.trial._open.clear()
    soundfile.write(tmp_path / "tones" / "15.wav", np.sin(np.arange(9000)), 16000)
    second = planned(short, cache, knn={**KNN, "tasks": sounds_as_they_are(tmp_path / "tones")})
    assert store.find_missing_probes(folder, second.probes) == ["knn"]
    assert done(second, tmp_path / "runs", cache) == folder
    assert (folder / "encoder.safetensors").stat().st_mtime_ns == weights
    assert len(scores(folder)) == 2
    assert store.find_missing_probes(folder, second.probes) == []


def sounds_as_they_are(place: Path) -> dict:
    return {"type": "ablate.audio.sources.Folder", "manifest": str(place / "manifest.csv")}


def test_clips_that_changed_since_the_plan_are_not_scored(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    answer = planned(short, cache, knn={**KNN, "tasks": sounds(tmp_path / "tones")})
    [entry] = answer.get_resolved()
    ablate.worker.trial._open.clear()
    manifest = tmp_path / "tones" / "manifest.csv"
    manifest.write_text(manifest.read_text().replace("0.wav,a", "0.wav,b"))
    folder = tmp_path / "runs" / entry.fingerprint
    write_config(folder, kind="jepa", settings=entry.settings)
    ended = run(
        folder,
        answer.probes,
        RunContext(torch.device("cpu"), cache, lambda _: None, StopSignal()),
    )
    assert ended.state == "failed"
    assert "scores have changed since it was planned" in ended.reason


def test_sound_without_labels_can_be_trained_on_where_probes_have_their_own(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    plain = {**short, "data": sounds(tmp_path / "plain", labelled=False)}
    answer = planned(plain, cache, knn={**KNN, "tasks": sounds(tmp_path / "tones")})
    assert [data.tasks.keys() for data in answer.data] == [set(), {"esc50"}]
    assert [data.pretraining_clips for data in answer.data] == [16, 0]
    assert [data.synthetic for data in answer.data] == [False, False]
    assert answer.get_resolved()[0].facts.data == answer.data[0].digest
    assert list(scores(done(answer, tmp_path / "runs", cache)))
    ablate.worker.trial._open.clear()
    [refused] = planned(plain, cache, knn=KNN).trials
    assert "no clip has a label, so there is nothing to probe" in refused.problems[0].message


def test_probes_on_both_kinds_of_clips_stand_side_by_side(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    other = {**KNN, "tasks": sounds(tmp_path / "tones")}
    answer = planned(short, cache, own=KNN, other=other)
    folder = done(answer, tmp_path / "runs", cache, {"own": answer.probes["own"]})
    assert store.find_missing_probes(folder, answer.probes) == ["other"]
    done(answer, tmp_path / "runs", cache)
    assert store.find_missing_probes(folder, answer.probes) == []
    assert {name.split("/")[0] for name in scores(folder)} == {
        "environment",
        "music",
        "speech",
        "esc50",
    }


def test_clips_that_cannot_be_examined_on_are_a_problem_of_their_probe(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    source = sounds(tmp_path / "tones")
    (tmp_path / "tones" / "3.wav").unlink()
    with pytest.raises(PartError, match=r"`probes.knn.tasks`: `3.wav`: no such file"):
        planned(short, cache, knn={**KNN, "tasks": source})


def test_the_plan_says_what_x_ares_says_of_tasks_and_lists_the_missing(
    short: dict, cache: Path, tmp_path: Path
) -> None:
    answer = planned(short, cache, knn={**KNN, "tasks": sounds(tmp_path / "tones")})
    _, examined = answer.data
    assert examined.tasks["esc50"].weight == 400
    assert examined.tasks["esc50"].domain == "environment"
    missing = {task.task: task for task in examined.missing}
    assert len(missing) == 21
    assert missing["librispeech"].weight == 10000
