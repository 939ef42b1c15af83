"""Tests that no flipped bit in a file of a run or of the cache changes a number silently."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages.journal import JournalFileBackend

from ablate.audio.mel import LogMel
from ablate.audio.store import open_store
from ablate.audio.synthetic import Synthetic
from ablate.core.checked_tensors import load_tensors, save_tensors
from ablate.core.io import DamagedFileError
from ablate.core.records.export import ExportedEncoder
from ablate.core.records.jobs import EndMark
from ablate.core.records.looks import ComparedScore, LookLog
from ablate.core.records.plan import Look
from ablate.core.records.record import Record
from ablate.core.records.score import PoolingScore, ScoreFile, TaskList
from ablate.core.records.sweep import SweepLimit, SweepPoint
from ablate.probing.feature_cache import load_or_compute
from ablate.probing.features import FeatureRows
from ablate.probing.views import View
from ablate.runs.predictions import ClipPredictions, read_predictions, write_predictions
from ablate.sweep.patience import PatientJournal
from ablate.training.checkpoint import Checkpoints

SOURCE = Synthetic(clips_per_class=1, valid_per_class=1, test_per_class=1)
MEL = LogMel(bands=8)
VIEW = View("mean")
FLIPS = settings(max_examples=75, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Stored:
    """A folder with files, and a function that reads all numbers from a copy of it."""

    folder: Path
    files: tuple[str, ...]
    read: Callable[[Path], Any]


def write_encoder(folder: Path) -> Stored:
    file = "encoder.safetensors"
    save_tensors(folder / file, {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2)})
    return Stored(folder, (file,), lambda copy: str(sorted(load_tensors(copy / file).items())))


def write_checkpoint(folder: Path) -> Stored:
    checkpoints = Checkpoints(folder)
    checkpoints.save(1, {"step": 1, "weights": torch.arange(40.0)})

    def read(copy: Path) -> str:
        state, warnings = Checkpoints(copy).load()
        if warnings:
            raise DamagedFileError(copy, warnings[0])
        return str(state)

    return Stored(folder, ("step-000000001.pt",), read)


def write_scores(folder: Path) -> Stored:
    scores = {"mean": PoolingScore(valid=61.25, test=59.375, folds=[58.0, 60.75])}
    record = ScoreFile(task="speech", key="ab", settings={"k": 3, "x": 0.1}, scores=scores)
    record.write(folder / "score.json")
    TaskList(tasks=["speech", "music"]).write(folder / "tasks.json")

    def read(copy: Path) -> str:
        return f"{ScoreFile.read(copy / 'score.json')} {TaskList.read(copy / 'tasks.json')}"

    return Stored(folder, ("score.json", "tasks.json"), read)


def write_store(folder: Path) -> Stored:
    store = open_store(SOURCE, MEL, folder)
    name = store.folder.name

    def read(copy: Path) -> str:
        opened = open_store(SOURCE, MEL, copy)
        frames = b"".join(opened.frames(index).tobytes() for index in range(len(opened.lengths)))
        clips = [(opened.clips.paths[i], opened.clips[i]) for i in range(len(opened.lengths))]
        return f"{opened.digest} {clips} {hash(frames)}"

    return Stored(folder, (f"{name}/index", f"{name}/frames", f"{name}/journal"), read)


def write_features(folder: Path) -> Stored:
    rows = np.arange(24, dtype=np.float32).reshape(6, 4)

    def read(copy: Path) -> str:
        def compute(views: Any) -> Any:
            yield {VIEW: FeatureRows(rows, np.arange(6))}

        features = load_or_compute(copy, [VIEW], compute, num_clips=6)[VIEW]
        return f"{np.asarray(features.rows).tolist()} {features.counts.tolist()}"

    read(folder)
    return Stored(folder, (f"{VIEW.name}.f32", f"{VIEW.name}.json"), read)


def write_records(folder: Path) -> Stored:
    probe = ComparedScore(protocol={"k": 3}, pooling="mean")
    looks = (Look(num_seeds=3, max_seeds=8),)
    records: dict[str, Record] = {
        "looks.json": LookLog(study="s", arms=("a", "b"), score=probe, looks=looks),
        "point.json": SweepPoint(
            search="s", number=3, params={"rate": 0.25}, distributions={}, runs=["a"]
        ),
        "limit.json": SweepLimit(searches=["s"], points=4, minutes=2.5, ends=1700000000.5),
        "mark.json": EndMark(state="done"),
        "encoder.json": ExportedEncoder(
            run="a",
            weights="0",
            mel={"bands": 64},
            patchifier={},
            encoder={"dim": 16},
            crop_frames=64,
            version="1",
        ),
    }
    for name, record in records.items():
        record.write(folder / name)

    def read(copy: Path) -> str:
        return str([type(record).read(copy / name) for name, record in records.items()])

    return Stored(folder, tuple(records), read)


def write_predicted_classes(folder: Path) -> Stored:
    clips = np.arange(12)
    predictions = ClipPredictions(
        pooling="mean",
        part="test",
        clips=clips,
        truth=clips % 3,
        predicted=np.stack([clips % 2, clips % 3]),
        classes=("a", "b", "c"),
        groups=clips // 2,
        group_names=tuple("uvwxyz"),
    )
    write_predictions(folder / "score.safetensors", [predictions])

    def read(copy: Path) -> str:
        [one] = read_predictions(copy / "score.safetensors", "mean")
        with np.printoptions(threshold=sys.maxsize):
            return str(one)

    return Stored(folder, ("score.safetensors",), read)


def write_journal(folder: Path) -> Stored:
    def open_journal(file: Path) -> PatientJournal:
        return PatientJournal(file, JournalFileBackend(str(file)))

    file = folder / "optuna.journal"
    file.touch()
    last = {"op_code": 0}  # may be incomplete: another process may be writing it
    open_journal(file).append_logs([{"param": 0.25}, {"values": [61.5]}, last])

    def read(copy: Path) -> str:
        first, second, *_ = open_journal(copy / file.name).read_logs(0)
        return f"{first.get('param')} {second.get('values')}"  # Optuna ignores unknown keys

    return Stored(folder, (file.name,), read)


WRITERS = (
    write_encoder,
    write_checkpoint,
    write_scores,
    write_store,
    write_features,
    write_records,
    write_predicted_classes,
    write_journal,
)


@pytest.fixture(params=WRITERS, ids=lambda write: write.__name__[6:], scope="module")
def stored(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stored:
    written: Stored = request.param(tmp_path_factory.mktemp("stored"))
    return written


def try_read(stored: Stored, copy: Path) -> str:
    """Returns what is read, or the message of the refusal."""
    try:
        return str(stored.read(copy))
    except ValueError as error:  # `DamagedFileError`, or another format
        return str(error)


@FLIPS
@given(data=st.data())
def test_a_flipped_bit_is_named_or_repaired(
    stored: Stored, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    expected = stored.read(stored.folder)
    copy = tmp_path_factory.mktemp("copy")
    shutil.copytree(stored.folder, copy, dirs_exist_ok=True)
    file = copy / data.draw(st.sampled_from(stored.files))
    content = bytearray(file.read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)
    outcome = try_read(stored, copy)
    assert outcome == expected or str(copy) in outcome
