"""torchaudio, imported so that it also works beside a torch its compiled extension does not fit.

The wheel's extension links CUDA and does not load beside a CPU torch. What this project needs
is pure Python over torch, so where the extension fails, a stand-in says that there is none.
"""

import importlib
import sys
from collections.abc import Callable
from types import ModuleType
from typing import NoReturn


def load() -> ModuleType:
    """Imports torchaudio, without its compiled extension if that does not load."""
    try:
        return importlib.import_module("torchaudio")
    except (OSError, RuntimeError):  # no CUDA libraries, or those of another CUDA version
        for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
            del sys.modules[name]
        stand_in = _no_extension()
        sys.modules[stand_in.__name__] = stand_in
        return importlib.import_module("torchaudio")


def _no_extension() -> ModuleType:
    stand_in = ModuleType("torchaudio._extension")
    for name, value in {
        "_IS_TORCHAUDIO_EXT_AVAILABLE": False,
        "_IS_ALIGN_AVAILABLE": False,
        "_check_cuda_version": lambda: None,
        "_load_lib": lambda _name: False,
        "fail_if_no_align": _refusing,
    }.items():
        setattr(stand_in, name, value)
    return stand_in


def _refusing(function: Callable[..., object]) -> Callable[..., NoReturn]:
    def refuse(*_arguments: object, **_settings: object) -> NoReturn:
        raise RuntimeError(f"`{function.__name__}` needs torchaudio's compiled extension")

    return refuse


torchaudio = load()
kaldi = importlib.import_module("torchaudio.compliance.kaldi")
