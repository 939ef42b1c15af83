"""Faults around a running trial are reported in one line; once repaired, nothing is lost."""

import errno
import json
import os
import resource
import shutil
from contextlib import contextmanager

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from ablate.core.records.messages import RunReply
from ablate.runs.store import write_config
from ablate.training.signals import StopSignal
from ablate.worker.context import RunContext
from ablate.worker.run import run
from tests.worker.plan_trials import plan_trial

CPU = torch.device("cpu")
MAX_BYTES = 20_000  # file size on the full disk: a record fits, a checkpoint does not


@pytest.fixture
def new_run(settings, cache, tmp_path):
    def make(name, **changes):
        trial = plan_trial({**settings, **changes}, cache)
        folder = tmp_path / name / trial.fingerprint
        folder.mkdir(parents=True)
        write_config(folder, kind="jepa", settings=trial.settings)
        return folder

    return make


def go(folder, cache, *, until=None, on_progress=lambda event: None):
    return run(folder, {}, RunContext(CPU, cache, on_progress, StopSignal(), until=until))


def state_of(folder):
    return json.loads((folder / "run.json").read_text())


def assert_same(first, second):
    one, other = (load_file(folder / "encoder.safetensors") for folder in (first, second))
    assert all(torch.equal(one[name], other[name]) for name in one | other)


@contextmanager
def no_file_above(most):
    """Lets no file of this process grow beyond `most` bytes; a full disk refuses as suddenly."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_clips_that_vanish_while_a_trial_trains_do_not_affect_it(new_run, cache, tmp_path):
    clips, rows = tmp_path / "clips", ["path,label,split"]
    clips.mkdir()
    for index in range(8):
        noise = np.random.default_rng(index).normal(size=12_000) * 0.1
        soundfile.write(clips / f"{index}.wav", noise, 16_000)
        rows.append(f"{index}.wav,{'ab'[index % 2]},{('train', 'test')[index // 6]}")
    (clips / "metadata.csv").write_text("\n".join(rows))
    manifest = str(clips / "metadata.csv")
    data = {"type": "ablate.audio.sources.Folder", "manifest": manifest}
    uninterrupted, without_clips = (
        new_run("uninterrupted", data=data),
        new_run("without_clips", data=data),
    )
    assert go(uninterrupted, cache).state == "done"
    assert go(without_clips, cache, until=20).state == "paused"

    def lose(event):
        shutil.rmtree(clips)

    assert go(without_clips, cache, until=55, on_progress=lose).state == "paused"
    assert not clips.exists()
    assert go(without_clips, cache).state == "done"
    assert_same(uninterrupted, without_clips)


def test_a_full_disk_fails_a_trial_that_goes_on_from_the_last_checkpoint(new_run, cache):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache)
    assert go(broken, cache, until=20).state == "paused"
    with no_file_above(MAX_BYTES):
        ended = go(broken, cache, until=40)
    reason = f"error: OSError: [Errno {errno.EFBIG}] {os.strerror(errno.EFBIG)}"
    assert ended == RunReply(state="failed", reason=reason)
    assert (state_of(broken)["state"], state_of(broken)["reason"]) == ("failed", reason)
    assert [path.name for path in (broken / "checkpoints").iterdir()] == ["step-000000020.pt"]
    assert go(broken, cache).state == "done"
    assert_same(uninterrupted, broken)


@pytest.mark.parametrize("name", ["checkpoints", "metrics.jsonl", "attempts", "run.json"])
def test_a_folder_that_cannot_be_written_to_fails_a_trial_with_its_name(new_run, cache, name):
    uninterrupted, broken = new_run("uninterrupted"), new_run("broken")
    go(uninterrupted, cache)
    if name in ("checkpoints", "attempts"):
        (broken / name).write_text("in the way")
    else:
        (broken / name).mkdir()
    ended = go(broken, cache, until=20)
    assert ended.state == "failed"
    assert ended.reason.startswith("error: ")
    assert str(broken / name) in ended.reason
    assert "\n" not in ended.reason
    if (broken / name).is_dir():
        (broken / name).rmdir()
    else:
        (broken / name).unlink()
    assert go(broken, cache).state == "done"
    assert_same(uninterrupted, broken)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only_fails_a_trial_with_its_name(new_run, cache):
    folder = new_run("run")
    folder.chmod(0o500)
    ended = go(folder, cache)
    folder.chmod(0o700)
    assert ended.state == "failed"
    assert str(folder) in ended.reason
    assert go(folder, cache).state == "done"
