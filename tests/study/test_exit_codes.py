"""A session that is told to end, once or more often, by the signals of a person or a site."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SESSION = """
import signal, sys, time
from ablate.study.exit_codes import run_with_exit_code, interrupt_on_signals

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us deaf to it
interrupt_on_signals()

def act():
    try:
        print("begun", flush=True)
        time.sleep(60)
    finally:
        print("saving", flush=True)
        time.sleep(float(sys.argv[1]))
        print("saved", flush=True)

sys.exit(run_with_exit_code(act))
"""


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    """A session that takes a while to save itself; the parameter says how many seconds."""
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


def tell(session: subprocess.Popen[str], first: signal.Signals, then: signal.Signals) -> list[str]:
    """Sends a session a signal, and another one while it saves itself; returns what it said."""
    assert session.stdout is not None
    session.send_signal(first)
    said = [session.stdout.readline()]
    session.send_signal(then)
    return [line.strip() for line in (*said, *session.stdout)]


@pytest.mark.parametrize("session", [1.0], indirect=True)
@pytest.mark.parametrize("first", [signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT])
def test_a_site_that_repeats_itself_lets_a_session_save_itself(
    session: subprocess.Popen[str], first: signal.Signals
) -> None:
    assert tell(session, first, signal.SIGTERM) == ["saving", "saved"]
    assert session.wait(60) == 130


@pytest.mark.parametrize("session", [60.0], indirect=True)
def test_a_second_ctrl_c_ends_a_session_at_once(session: subprocess.Popen[str]) -> None:
    assert tell(session, signal.SIGINT, signal.SIGINT) == ["saving"]
    assert session.wait(30) == 130


def test_what_nohup_has_muted_stays_so() -> None:
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
