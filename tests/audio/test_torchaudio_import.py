"""torchaudio loads with any build of torch."""

import subprocess
import sys

import pytest
import torch

from ablate.audio.torchaudio_import import _create_extension_stub, torchaudio


def test_torchaudio_loads_without_a_warning() -> None:
    code = "from ablate.audio.torchaudio_import import torchaudio; torchaudio.transforms.Resample"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_pure_python_functions_work() -> None:
    assert len(torchaudio.functional.resample(torch.zeros(8000), 8000, 16000)) == 16000


def test_a_function_of_the_missing_extension_raises_by_name() -> None:
    def forced_align() -> None: ...

    with pytest.raises(RuntimeError, match="forced_align"):
        _create_extension_stub().fail_if_no_align(forced_align)()
