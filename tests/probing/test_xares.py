"""The X-ARES source: its table of tasks, its tar files, and errors in them."""

import io
import json
import math
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.labels import check_labels
from ablate.audio.mel import LogMel
from ablate.audio.store import open_store
from ablate.parts import build, resolve
from ablate.probing.tasks import find_tasks
from ablate.probing.xares import XARES
from ablate.probing.xares_tasks import TASKS, TASKS_BY_NAME

Sample = tuple[bytes, Any]  # a WAV file and the content of its JSON


def make_wav(hertz: float = 300, rate: int = 16000) -> bytes:
    file = io.BytesIO()
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(rate // 5) / rate)
    soundfile.write(file, wave, rate, format="WAV")
    return file.getvalue()


def write_tar(file: Path, samples: Sequence[Sample]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as tar:
        for number, (wav, content) in enumerate(samples):
            pieces = {"wav": wav}
            if content is not None:
                pieces["json"] = json.dumps(content).encode()
            for suffix, piece in pieces.items():
                entry = tarfile.TarInfo(f"{file.stem}-{number:03d}.{suffix}")
                entry.size = len(piece)
                tar.addfile(entry, io.BytesIO(piece))
    return file


def make_samples(*emotions: str) -> list[Sample]:
    return [(make_wav(200 + 50 * n), {"label": emotion}) for n, emotion in enumerate(emotions)]


@pytest.fixture
def env(tmp_path: Path) -> Path:
    """Creates a folder of X-ARES with one task of splits and one of folds."""
    for split, shards in (("train", 2), ("valid", 1), ("test", 1)):
        for shard in range(shards):
            file = tmp_path / "cremad" / f"wds-audio-{split}-{shard:06d}.tar"
            write_tar(file, make_samples("H", "S", "H", "S"))
    for fold in range(10):
        members = [(make_wav(), {"genre": genre}) for genre in ("jazz", "pop")]
        write_tar(tmp_path / "gtzan_genre" / f"gtzan_fold_{fold}_0000000.tar", members)
    return tmp_path


def test_the_table_has_all_public_tasks_with_their_weights() -> None:
    assert sum(task.weight for task in TASKS) == 38752
    assert TASKS_BY_NAME["librispeech"].weight == 10000
    assert {task.domain for task in TASKS} == {"speech", "music", "environment"}
    assert len({task.name for task in TASKS}) == len(TASKS) == 22


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_every_row_of_the_table_is_complete(task: Any) -> None:
    assert task.label_format in ("one", "several", "events", "notes", "text")
    assert not task.labels or len(task.labels) == task.num_classes
    assert task.label_format == "text" or task.num_classes >= 2
    assert len(set(task.shards.values())) == len(task.shards)
    assert task.folded == ("test" not in task.shards)
    assert all(pattern.endswith("*.tar") for pattern in task.shards.values())


def test_tasks_are_listed_with_their_splits_or_folds(env: Path) -> None:
    cremad, gtzan = find_tasks(XARES(folder=str(env)).clips())
    assert (cremad.name, gtzan.name) == ("cremad", "gtzan_genre")
    assert {part: len(clips) for part, clips in cremad.parts.items()} == {
        "train": 8,
        "valid": 4,
        "test": 4,
    }
    assert gtzan.folded
    assert sorted(gtzan.parts) == [str(fold) for fold in range(10)]
    assert gtzan.classes == ("jazz", "pop")


def test_every_absent_task_is_missing_with_a_reason(env: Path) -> None:
    missing = XARES(folder=str(env)).missing
    assert missing.keys() == TASKS_BY_NAME.keys() - {"cremad", "gtzan_genre"}
    assert missing["esc50"] == "no folder of that name"
    assert "Qwen2.5-0.5B" in missing["librispeech"]
    assert "captions" in missing["clotho"]


def test_a_task_without_a_test_split_is_missing_with_the_reason(env: Path) -> None:
    (env / "cremad" / "wds-audio-test-000000.tar").unlink()
    source = XARES(folder=str(env))
    assert source.missing["cremad"] == "there is no shard `wds-audio-test*.tar` (test)"
    assert source.clips().tasks.categories == ("gtzan_genre",)
    with pytest.raises(ValueError, match=r"cremad: there is no shard `wds-audio-test\*.tar`"):
        XARES(folder=str(env), tasks=("cremad",)).clips()


def test_a_task_without_a_fold_is_missing_with_the_reason(env: Path) -> None:
    (env / "gtzan_genre" / "gtzan_fold_3_0000000.tar").unlink()
    missing = XARES(folder=str(env)).missing
    assert missing["gtzan_genre"] == "there is no shard `gtzan_fold_3_*.tar` (fold 3)"


def test_only_the_named_tasks_are_read(env: Path) -> None:
    source = XARES(folder=str(env), tasks=("gtzan_genre",))
    assert source.clips().tasks.categories == ("gtzan_genre",)
    assert source.missing == {}


def test_an_unknown_task_raises_with_a_suggestion() -> None:
    with pytest.raises(ValueError, match=r"no public task `esc-50` \(did you mean `esc50`\?\)"):
        XARES(folder="env", tasks=("esc-50",))


def test_an_empty_folder_raises(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no task of X-ARES is complete in .*esc50: no folder"):
        XARES(folder=str(tmp_path)).clips()


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ((make_wav(), {"lable": "H"}), r"has no `label` in its JSON \(did you mean `lable`\?\)"),
        ((make_wav(), None), "has no JSON file"),
        ((make_wav(), {"label": "X"}), "has the label `X`, which task `cremad` does not have"),
        ((b"", {"label": "H"}), "is empty, 0 bytes"),
    ],
    ids=["missing label", "missing JSON", "unknown label", "empty file"],
)
def test_a_bad_sample_raises_or_is_skipped(
    env: Path, tmp_path: Path, bad: Sample, reason: str
) -> None:
    file = env / "cremad" / "wds-audio-train-000002.tar"
    write_tar(file, [*make_samples("H", "S"), bad])
    with pytest.raises(BadAudioError, match=rf"wds-audio-train-000002-002`: {reason}"):
        XARES(folder=str(env)).clips()
    store = open_store(XARES(folder=str(env), on_bad_audio="skip"), LogMel(), tmp_path / "cache")
    [(path, _)] = store.skipped
    assert path == f"cremad/{file.name}/{file.stem}-002"


def test_audio_of_any_rate_is_resampled(env: Path, tmp_path: Path) -> None:
    write_tar(
        env / "cremad" / "wds-audio-train-000002.tar",
        [(make_wav(rate=rate), {"label": "H"}) for rate in (8000, 16000, 44100)],
    )
    store = open_store(XARES(folder=str(env)), LogMel(), tmp_path / "cache")
    clips = [i for i, clip in enumerate(store.clips) if "train-000002" in clip.path]
    assert store.lengths[clips].tolist() == [20, 20, 20]


def test_more_labels_than_the_table_lists_raise(env: Path) -> None:
    for fold in range(10):
        file = env / "vocalimitations" / f"vocal_imitations_fold{fold:02}_0000000.tar"
        write_tar(file, [(b"x", {"imitation": str(n)}) for n in range(303)])
    with pytest.raises(ValueError, match=r"`vocalimitations` has 303 labels, but the table .* 302"):
        XARES(folder=str(env)).clips()


def test_multiple_labels_events_and_notes_become_tasks(tmp_path: Path) -> None:
    for part in ("train", "validation", "eval"):
        contents = [{"soundevent": "Bark;Dog"}, {"soundevent": "Dog"}, {"soundevent": "Bell"}]
        write_tar(
            tmp_path / "fsd50k" / f"fsd50k_{part}_0.tar", [(make_wav(), each) for each in contents]
        )
    event = {"onset": 0.02, "offset": 0.1, "label": "Cat,Dog"}
    for part in ("train", "eval"):
        contents = [[event, {**event, "offset": 0.02}], [], [event]]
        write_tar(
            tmp_path / "desed" / f"wds-audio-{part}-0.tar",
            [(make_wav(), each) for each in contents],
        )
    for part in ("train", "valid", "test"):
        notes = [{"start": 0.0, "end": 0.1, "note": 60}, {"start": 0.1, "end": 0.2, "note": 62}]
        write_tar(
            tmp_path / "maestro" / f"maestro_{part}_0.tar",
            [(make_wav(), notes), (make_wav(), notes)],
        )
    clips = XARES(folder=str(tmp_path)).clips()
    check_labels([clip for clip in clips if clip.task != "maestro"])
    desed, fsd50k, maestro = find_tasks(clips)
    assert (desed.kind, fsd50k.kind, maestro.kind) == ("events", "multi", "events")
    assert fsd50k.classes == ("Bark", "Bell", "Dog")
    assert [(e.name, e.start, e.stop) for e in desed.events[0]] == [
        ("Cat", 0.02, 0.1),
        ("Dog", 0.02, 0.1),
    ]
    assert desed.events[1] == ()
    assert set(desed.parts) == {"train", "test"}  # X-ARES selects on the test clips
    assert maestro.classes == ("60", "62")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"label": "Cat"}, "not a list of events, each with label, onset, offset"),
        ([{"onset": 0, "label": "Cat"}], "not a list of events"),
        ([{"onset": "x", "offset": 1, "label": "Cat"}], "times are not numbers"),
        ([{"onset": 0, "offset": 1, "label": "Cow"}], "the label `Cow`"),
        ([{"onset": -0.01, "offset": 1, "label": "Cat"}], r"desed.*-000`: .* from -0\.01 to 1 s"),
        ([{"onset": 0, "offset": math.inf, "label": "Cat"}], "from 0 to inf s"),
        ([{"onset": math.nan, "offset": 1, "label": "Cat"}], "from nan to 1 s"),
    ],
)
def test_invalid_events_raise_with_the_reason(tmp_path: Path, content: Any, reason: str) -> None:
    for part in ("train", "eval"):
        write_tar(tmp_path / "desed" / f"wds-audio-{part}-0.tar", [(make_wav(), content)])
    with pytest.raises(BadAudioError, match=reason):
        XARES(folder=str(tmp_path)).clips()


@pytest.mark.parametrize(
    ("onset", "offset", "written"),
    [
        (1.2341, 1.2344, "-"),
        (1.2344, 1.2346, "Cat@1.234-1.235"),
        (-0.0, 0.5, "Cat@0.000-0.500"),
        (-0.0004, 0.5, "Cat@0.000-0.500"),
    ],
)
def test_events_are_rounded_to_milliseconds(
    tmp_path: Path, onset: float, offset: float, written: str
) -> None:
    events = [
        {"onset": onset, "offset": offset, "label": "Cat"},
        {"onset": 2, "offset": 3, "label": "Dog"},
    ]
    for part in ("train", "eval"):
        samples = [(make_wav(), events[:1]), (make_wav(), events[1:])]
        write_tar(tmp_path / "desed" / f"wds-audio-{part}-0.tar", samples)
    clips = XARES(folder=str(tmp_path)).clips()
    assert {clip.label for clip in clips} == {written, "Dog@2.000-3.000"}
    assert find_tasks(clips)[0].kind == "events"


def test_the_source_is_rebuilt_from_its_settings(env: Path) -> None:
    source = XARES(folder=str(env), tasks=("cremad",))
    assert build(resolve(source), expect=XARES) == source
