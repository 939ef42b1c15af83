"""Tests that one damaged file of a run stops nothing, and that its record is rebuilt honestly."""

import shutil
import stat
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.core.io import write_json
from ablate.core.records.messages import CheckRunsRequest
from ablate.core.records.metrics_log import METRICS_FILE, read_rows
from ablate.core.records.record import FormatError
from ablate.core.records.run import (
    CONFIG_FILE,
    RECORD_FILE,
    TRAINING_FILE,
    Environment,
    RunConfig,
    RunRecord,
)
from ablate.runs import store
from ablate.runs.code_archive import write_code_archive
from ablate.runs.heartbeat import read_heartbeat
from ablate.runs.rebuild import read_environment
from ablate.runs.record import read_record
from ablate.slurm.queue import find_last_job
from ablate.worker.store_check import check_runs
from tests.faults.test_kills import PARTS
from tests.worker.runs import create_run_folder, ignore, plan_trial, run_folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run folder, and beside it the cache of its clips."""
    home = tmp_path_factory.mktemp("damaged")
    settings = {**PARTS, "budget": {"steps": 4, "batch": 4}, "seed": 0}
    folder = create_run_folder(home / "runs", plan_trial(settings, home / "cache"))
    assert run_folder(folder, home / "cache").state == "done"
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "runs" / trained.name))


def damage(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def run_again(folder: Path, trained: Path) -> RunRecord:
    assert run_folder(folder, trained.parents[1] / "cache").state == "done"
    return RunRecord.read(folder / RECORD_FILE)


def without_reason(record: RunRecord) -> dict[str, Any]:
    return vars(replace(record, reason=None, attempt=0))


@pytest.mark.parametrize("is_deleted", [False, True])
def test_a_lost_record_is_rebuilt_from_the_other_files(
    folder: Path,
    trained: Path,
    is_deleted: bool,  # noqa: FBT001
) -> None:
    before = read_record(folder)
    if is_deleted:
        (folder / RECORD_FILE).unlink()
    else:
        damage(folder / RECORD_FILE)
    status = store.read_status(folder)
    assert status.state == "done"
    assert "rebuilt from the other files of the run" in str(status.reason)
    assert without_reason(read_record(folder)) == without_reason(before)
    assert without_reason(run_again(folder, trained)) == without_reason(before)
    assert (folder / "run.json.damaged").exists() is not is_deleted


def test_missing_facts_stay_unknown_and_are_reported(folder: Path, trained: Path) -> None:
    damage(folder / RECORD_FILE)
    (folder / TRAINING_FILE).unlink()
    record = run_again(folder, trained)
    assert (record.cost, record.metrics, record.code, record.host) == (None, None, None, None)
    assert record.versions == read_record(trained).versions
    assert "its code are not known" in record.warnings[0]


def test_an_untrained_run_with_a_damaged_record_is_resumed(folder: Path) -> None:
    (folder / "encoder.safetensors").unlink()
    damage(folder / RECORD_FILE)
    assert store.read_status(folder).state == "preempted"


@pytest.mark.parametrize(
    "name", ["run.json", "config.json", "env.json", "heartbeat.json", "jobs.jsonl"]
)
def test_no_damaged_small_file_stops_the_reading_of_a_run(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"\xff{ not JSON")
    config = store.RunConfig(kind="jepa", settings={})
    store.read_status(folder)
    read_environment(folder)
    read_heartbeat(folder)
    find_last_job(folder)
    store.write_config(folder, kind=config.kind, settings=config.settings)
    assert store.RunConfig.read(folder / "config.json") == config


@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "training.json",
        "config.json",
        "env.json",
        "metrics.jsonl",
        "encoder.safetensors",
    ],
)
def test_a_check_of_a_store_names_each_damaged_file(folder: Path, name: str) -> None:
    request = CheckRunsRequest(runs=folder.parent)
    assert check_runs(request, ignore).problems == ()
    damage(folder / name)
    reply = check_runs(request, ignore)
    assert reply.num_runs == 1
    assert len(reply.problems) == 1
    assert name in reply.problems[0]


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "env.json"])
def test_a_digit_that_was_changed_is_noticed(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    digits = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in digits[:: max(1, len(digits) // 40)]:
        changed = bytearray(content)
        changed[place] ^= 1  # another digit
        (folder / name).write_bytes(changed)
        problems = check_runs(CheckRunsRequest(runs=folder.parent), ignore).problems
        assert len(problems) == 1
        assert name in problems[0]


def test_curves_leave_out_a_step_whose_number_was_changed(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / METRICS_FILE
    rows = read_rows(file)
    file.write_text(file.read_text().replace('"loss": 0.', '"loss": 9.', 1))
    assert read_rows(file) == rows[1:]
    assert "1 damaged lines are left out" in caplog.text


def test_a_damaged_environment_is_reported_and_stays_unknown(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damage(folder / "env.json")
    assert read_environment(folder) == Environment()
    assert f"{folder / 'env.json'} is not JSON" in caplog.text


def test_files_of_an_earlier_version_without_checksums_are_still_used(folder: Path) -> None:
    (folder / METRICS_FILE).write_text('{"step": 1, "loss": 0.5}\n')
    assert read_rows(folder / METRICS_FILE) == [{"step": 1, "loss": 0.5}]
    config = RunConfig.read(folder / CONFIG_FILE)
    write_json(folder / CONFIG_FILE, {"format": 1, **vars(config)})
    with pytest.raises(FormatError, match="run its study again, which writes this file anew"):
        RunConfig.read(folder / CONFIG_FILE)
    store.write_config(folder, kind=config.kind, settings=config.settings)
    assert RunConfig.read(folder / CONFIG_FILE) == config


def test_the_code_of_own_parts_is_kept_for_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "kept_lab.py").write_text("import kept_helper")
    (tmp_path / "kept_helper.py").write_text("x = 1")
    name = write_code_archive(tmp_path, ["kept_lab.Part"], "a diff")
    assert name is not None
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    with zipfile.ZipFile(tmp_path / name) as archive:
        assert archive.namelist() == ["kept_helper.py", "kept_lab.py", "uncommitted.diff"]
    assert write_code_archive(tmp_path, ["kept_lab.Part"], "a diff") == name
    (tmp_path / "kept_helper.py").write_text("x = 2")
    assert write_code_archive(tmp_path, ["kept_lab.Part"], "a diff") != name
    assert write_code_archive(tmp_path, ["ablate.probing.knn.KNN"], None) is None
