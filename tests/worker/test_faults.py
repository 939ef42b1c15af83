"""A fault around a training is reported in one line, and the run resumes once it is repaired."""

import errno
import io
import os
import resource
import shutil
import threading
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile

from ablate.core.records.messages import RunReply, RunRequest
from ablate.training.signals import StopSignal
from ablate.worker.main import serve
from tests.worker.runs import (
    create_run_folder,
    have_same_weights,
    plan_trial,
    read_run_json,
    run_folder,
)

MAX_BYTES = 20_000  # a record is smaller, a checkpoint larger


@pytest.fixture
def new_run(settings, cache, tmp_path):
    """Returns a function that creates run folders: `new_run(name, **changes)`."""

    def create(name, **changes):
        return create_run_folder(tmp_path / name, plan_trial({**settings, **changes}, cache))

    return create


@contextmanager
def limit_file_size(max_bytes):
    """Limits the files that this process writes, so that writing fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def write_clips(clips):
    """Writes noise as audio files with a manifest; returns the settings of their source."""
    rows = ["path,label,split"]
    clips.mkdir()
    for index in range(8):
        noise = np.random.default_rng(index).normal(size=12_000) * 0.1
        soundfile.write(clips / f"{index}.wav", noise, 16_000)
        rows.append(f"{index}.wav,{'ab'[index % 2]},{('train', 'test')[index // 6]}")
    (clips / "metadata.csv").write_text("\n".join(rows))
    return {"type": "ablate.audio.sources.Folder", "manifest": str(clips / "metadata.csv")}


def test_a_corpus_that_is_not_mounted_is_not_the_error_of_the_trial(new_run, cache, tmp_path):
    folder = new_run("run", data=write_clips(tmp_path / "clips"))
    (tmp_path / "clips").rename(tmp_path / "away")
    other_cache = tmp_path / "cache"
    ended = run_folder(folder, other_cache)
    assert ended.reason == (
        f"node: {tmp_path}/clips/metadata.csv: no such file or folder; mount its disk, or put it "
        "back"
    )
    assert (ended.state, ended.machine_failed) == ("preempted", True)
    (tmp_path / "away").rename(tmp_path / "clips")
    assert run_folder(folder, other_cache, until=2).state == "paused"


def test_a_training_does_not_need_its_audio_files(new_run, cache, tmp_path):
    clips = tmp_path / "clips"
    data = write_clips(clips)
    uninterrupted, without_clips = (
        new_run("uninterrupted", data=data),
        new_run("without_clips", data=data),
    )
    assert run_folder(uninterrupted, cache).state == "done"
    assert run_folder(without_clips, cache, until=20).state == "paused"

    def delete_clips(message):
        shutil.rmtree(clips, ignore_errors=True)  # progress is reported several times

    assert run_folder(without_clips, cache, until=55, emit=delete_clips).state == "paused"
    assert not clips.exists()
    assert run_folder(without_clips, cache).state == "done"
    assert have_same_weights(uninterrupted, without_clips)


def test_a_full_disk_preempts_a_run_which_then_resumes_from_its_last_checkpoint(new_run, cache):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    run_folder(uninterrupted, cache)
    assert run_folder(broken, cache, until=20).state == "paused"
    with limit_file_size(MAX_BYTES):
        ended = run_folder(broken, cache, until=40)
    checkpoint = broken / "checkpoints" / "step-000000040.pt"
    assert ended.reason.startswith(f"node: {checkpoint}: {os.strerror(errno.EFBIG)}: ")
    assert ended == RunReply(state="preempted", reason=ended.reason, machine_failed=True)
    record = read_run_json(broken)
    assert (record["state"], record["reason"]) == ("preempted", ended.reason)
    assert [path.name for path in (broken / "checkpoints").iterdir()] == ["step-000000020.pt"]
    assert run_folder(broken, cache).state == "done"
    assert have_same_weights(uninterrupted, broken)


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "attempts", "run.json"])
def test_a_path_that_cannot_be_written_is_named_in_the_reason(new_run, cache, name):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    run_folder(uninterrupted, cache)
    if name in ("checkpoints", "attempts"):
        (broken / name).write_text("in the way")
    else:
        (broken / name).mkdir()
    ended = run_folder(broken, cache, until=20)
    assert (ended.state, ended.machine_failed) == ("preempted", True)
    assert ended.reason.startswith(f"node: {broken / name}")
    assert "\n" not in ended.reason
    if (broken / name).is_dir():
        (broken / name).rmdir()
    else:
        (broken / name).unlink()
    assert run_folder(broken, cache).state == "done"
    assert have_same_weights(uninterrupted, broken)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named_in_the_reason(new_run, cache):
    folder = new_run("run")
    folder.chmod(0o500)
    ended = run_folder(folder, cache)
    folder.chmod(0o700)
    assert (ended.state, ended.machine_failed) == ("preempted", True)
    assert str(folder) in ended.reason
    assert run_folder(folder, cache).state == "done"


def test_a_worker_whose_controller_has_died_saves_its_run_like_for_a_signal(new_run, cache):
    uninterrupted, orphaned = new_run("uninterrupted"), new_run("orphaned")
    run_folder(uninterrupted, cache)
    request = RunRequest(folder=orphaned, probes={})
    reader, writer = os.pipe()

    def die_at_the_first_progress():
        with os.fdopen(reader) as replies:
            next(line for line in replies if '"done"' in line)

    controller = threading.Thread(target=die_at_the_first_progress)
    controller.start()
    with pytest.raises(BrokenPipeError), os.fdopen(writer, "w") as replies:  # closing flushes
        serve(io.StringIO(request.to_line()), replies, StopSignal(), cache)
    controller.join()
    record = read_run_json(orphaned)
    assert (record["state"], record["failure"]) == ("preempted", None)
    assert record["reason"].startswith("SIGPIPE at step ")
    assert run_folder(orphaned, cache).state == "done"
    assert have_same_weights(uninterrupted, orphaned)
