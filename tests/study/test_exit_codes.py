"""A session that receives one or more signals saves its work and exits with the right code."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablate.core.machine_errors import REMEDIES
from ablate.executors.worker import WorkerDiedError
from ablate.study.exit_codes import FAILED, run_with_exit_code

ROOT = Path(__file__).parents[2]
SESSION = """
import signal, sys, time
from ablate.study.exit_codes import run_with_exit_code, interrupt_on_signals

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have ignored it
interrupt_on_signals()

def run():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("saving", flush=True)
        time.sleep(float(sys.argv[1]))
        print("saved", flush=True)

sys.exit(run_with_exit_code(run))
"""


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A session whose shutdown takes as many seconds as the parameter says."""
    with subprocess.Popen(
        [sys.executable, "-c", SESSION, str(request.param)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        yield process
        process.kill()


def send_signals(
    session: subprocess.Popen[str], first: signal.Signals, then: signal.Signals
) -> list[str]:
    """Sends a signal, and another one during the shutdown; returns the lines of output."""
    assert session.stdout is not None
    session.send_signal(first)
    lines = [session.stdout.readline()]
    session.send_signal(then)
    return [line.strip() for line in (*lines, *session.stdout)]


@pytest.mark.parametrize("session", [1.0], indirect=True)
@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_of_a_scheduler_does_not_interrupt_the_shutdown(
    session: subprocess.Popen[str], first: signal.Signals
) -> None:
    assert send_signals(session, first, signal.SIGTERM) == ["saving", "saved"]
    assert session.wait(60) == 130


@pytest.mark.parametrize("session", [60.0], indirect=True)
def test_a_second_ctrl_c_ends_a_session_at_once(session: subprocess.Popen[str]) -> None:
    assert send_signals(session, signal.SIGINT, signal.SIGINT) == ["saving"]
    assert session.wait(30) == 130


def test_a_signal_that_nohup_ignores_stays_ignored() -> None:
    code = """
import signal
from ablate.study.exit_codes import interrupt_on_signals
signal.signal(signal.SIGHUP, signal.SIG_IGN)
interrupt_on_signals()
signal.raise_signal(signal.SIGHUP)
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("code", [24, 28, 30, 116])
def test_an_error_of_the_machine_names_the_remedy(
    code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> int:
        raise OSError(code, os.strerror(code))

    assert run_with_exit_code(fail) == FAILED
    error = capsys.readouterr().err
    assert f"[Errno {code}] {os.strerror(code)}: {REMEDIES[code]}; finished" in error


def test_an_error_of_the_machine_in_a_worker_names_the_remedy(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> int:
        raise WorkerDiedError("worker died (exit code 1): OSError: [Errno 24] Too many open files")

    assert run_with_exit_code(fail) == FAILED
    assert "raise `ulimit -n`" in capsys.readouterr().err
