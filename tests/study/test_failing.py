"""Failed trials, invalid studies and interruptions: what is reported, and what is kept."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.study.conftest import STUDY, read_output, run, trainings

ROOT = Path(__file__).parents[2]
ENTRY = """\
import sys
from pathlib import Path
from ablate.study import run as study
from ablate.study.exit_codes import interrupt_on_signals
interrupt_on_signals()
sys.exit(study.run_study(Path("study.yaml"), command=sys.argv[1:], workers=1))
"""


def test_a_failed_trial_is_reported_and_the_others_continue(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("factors.masker.other={type: Fails}") == study.FAILED
    text = read_output(capsys)
    assert "failed: other, seed 1 (" in text
    assert "): nan: at step 7" in text
    assert len(trainings()) == 7


def test_a_failed_trial_is_not_run_again_by_default(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("factors.masker.other={type: Fails}")
    read_output(capsys)
    assert run("factors.masker.other={type: Fails}") == study.FAILED
    text = read_output(capsys)
    assert "0 trials to run, 2 done, 2 failed, of 4" in text
    assert "failed before: other, seed 0" in text
    assert len(trainings()) == 7


def test_retry_failed_runs_a_failed_trial_again(workdir: Path) -> None:
    run("factors.masker.other={type: Fails}")
    run("factors.masker.other={type: Fails}", retry_failed=True)
    assert len(trainings()) == 9


def test_problems_of_probes_and_trials_are_reported_together(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("probes.knn.k=0", "factors.masker.other.ratio=2") == study.WRONG
    assert capsys.readouterr().err.splitlines() == [
        "command line: `probes.knn.k`: must be at least 1, got 0",
        "command line: `masker.ratio`: must be at most 1 (in other)",
    ]


def test_a_problem_of_a_part_is_reported_with_its_line(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("study.yaml").write_text(STUDY.replace("0.4", "4"))
    assert run() == study.WRONG
    expected = "study.yaml:10: `masker.ratio`: must be at most 1 (in other)\n"
    assert capsys.readouterr().err == expected


def test_an_invalid_study_writes_no_file(workdir: Path) -> None:
    assert run("factors.masker.other.ratio=2") == study.WRONG
    assert [path.name for path in workdir.iterdir()] == ["study.yaml"]


def test_a_worker_that_does_not_start_is_reported(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert study.run_study(Path("study.yaml"), command=(*STAND_IN, "--broken")) == study.FAILED
    assert "exit code 1): no module named `my_lab`" in capsys.readouterr().err


def interrupt_study(number: signal.Signals, workdir: Path) -> subprocess.CompletedProcess[str]:
    """Starts a study with long trials and sends it a signal once one is running."""
    Path("study.yaml").write_text(STUDY.replace("type: Other", "type: Sleeps"))
    process = subprocess.Popen(
        [sys.executable, "-c", ENTRY, *STAND_IN],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while len(trainings()) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, number)  # as a terminal does
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_study_keeps_finished_runs(workdir: Path, number: signal.Signals) -> None:
    done = interrupt_study(number, workdir)
    assert done.returncode == study.INTERRUPTED
    assert "To go on: ablate run study.yaml" in done.stderr
    states = [json.loads(file.read_text())["state"] for file in Path("runs").glob("*/run.json")]
    assert sorted(states) == ["cancelled", "done"]


def test_an_interrupted_study_stops_its_workers(workdir: Path) -> None:
    interrupt_study(signal.SIGINT, workdir)
    for pid in {int(line.split()[0]) for line in trainings()}:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
