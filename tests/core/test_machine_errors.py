"""Tests which errors are the machine's and which are the trial's."""

import errno
from pathlib import Path

import pytest

from ablate.core.machine_errors import OWN_FILE_REMEDIES, REMEDIES, describe_machine_error

RUN = Path("/runs/ab12")


@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_an_error_of_the_machine_is_recognised_wherever_it_was_raised(number: int) -> None:
    description = describe_machine_error(OSError(number, "words", "/elsewhere/file"), [RUN])
    assert description == f"/elsewhere/file: words: {REMEDIES[number]}"
    without_file = describe_machine_error(OSError(number, "words"), [RUN])
    assert without_file == f"/runs/ab12: words: {REMEDIES[number]}"


@pytest.mark.parametrize("number", [*OWN_FILE_REMEDIES, errno.ENOENT])
def test_other_system_errors_are_the_machines_only_for_files_of_ablate(number: int) -> None:
    own, other = OSError(number, "words", str(RUN / "x")), OSError(number, "words", "/their/x")
    assert str(describe_machine_error(own, [RUN])).startswith("/runs/ab12/x: words: ")
    assert describe_machine_error(other, [RUN]) is None


def test_an_error_hidden_in_the_exception_of_a_library_is_recognised() -> None:
    wrapped = RuntimeError("PytorchStreamWriter failed")
    wrapped.__context__ = OSError(errno.ENOSPC, "no space", "/runs/ab12/x")
    assert "/runs/ab12/x: no space: " in str(describe_machine_error(wrapped, [RUN]))


@pytest.mark.parametrize("error", [ValueError("a setting"), RuntimeError("a step too far")])
def test_an_error_of_a_trial_is_not_the_machines(error: Exception) -> None:
    assert describe_machine_error(error, [RUN]) is None
