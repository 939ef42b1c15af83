"""Signals outside of training, and at the end of it."""

import signal

import pytest

from ablate.training.signals import Stop


def test_a_signal_between_trainings_ends_the_process_at_once():
    with pytest.raises(SystemExit):
        Stop()._hear(signal.SIGTERM, None)


def test_a_signal_waits_for_the_end_of_the_outer_of_two_blocks():
    stop = Stop()
    with stop.between_steps():
        with stop.between_steps():
            pass
        stop._hear(signal.SIGTERM, None)
        stop.heed()
    with pytest.raises(SystemExit):
        stop.heed()
