"""Stop signals outside of training, and deferred during training."""

import signal

import pytest

from ablate.training.signals import StopSignal


def test_a_signal_outside_of_training_ends_the_process():
    with pytest.raises(SystemExit):
        StopSignal()._handle(signal.SIGTERM, None)


def test_signals_stay_deferred_until_the_outermost_block_ends():
    stop = StopSignal()
    with stop.deferred():
        with stop.deferred():
            pass
        stop._handle(signal.SIGTERM, None)
        stop.exit_if_received()
    with pytest.raises(SystemExit):
        stop.exit_if_received()
