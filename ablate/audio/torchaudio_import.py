"""Imports torchaudio, even if its compiled extension does not match the installed torch.

The extension in the wheel links CUDA and does not load with a CPU build of torch. This project only
needs torchaudio's pure Python code, so a stub replaces an extension that does not load.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn


def import_torchaudio() -> ModuleType:
    """Imports torchaudio, with a stub for its compiled extension if that does not load."""
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError):  # CUDA libraries are missing or of another version
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        stub = _create_extension_stub()
        sys.modules[stub.__name__] = stub
        return importlib.import_module("torchaudio")


def _create_extension_stub() -> ModuleType:
    stub = ModuleType("torchaudio._extension")
    for name, value in {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "_check_cuda_version": lambda: None,
        "_load_lib": lambda _name: False,
        "fail_if_no_align": _replace_by_error,
    }.items():
        setattr(stub, name, value)
    return stub


def _replace_by_error(function: Callable[..., object]) -> Callable[..., NoReturn]:
    def raise_error(*_arguments: object, **_settings: object) -> NoReturn:
        raise RuntimeError(f"`{function.__name__}` needs torchaudio's compiled extension")

    return raise_error


torchaudio = import_torchaudio()
kaldi = importlib.import_module("torchaudio.compliance.kaldi")
