"""Find out which mask and which patch make an audio JEPA learn.

The names below are the public API. They are loaded when they are first used, so that importing the
package costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ablate.audio.clips import ClipInfo, ClipTable
    from ablate.audio.source import AbstractSource
    from ablate.export.encoder import load_encoder
    from ablate.model.masking import (
        AbstractMasker,
        Clips,
        Grid,
        Mask,
        Masker,
        Promises,
        UnsupportedGridError,
    )
    from ablate.model.patchify import AbstractPatchifier, Patchifier
    from ablate.probing.probe import AbstractProbe, ProbeData
    from ablate.report.dataframes import results
    from ablate.study.api import plan, run
    from ablate.testing import (
        check_encoder,
        check_masker,
        check_patchifier,
        check_probe,
        check_source,
    )

__version__ = "0.2.0"
__all__ = [
    "AbstractMasker",
    "AbstractPatchifier",
    "AbstractProbe",
    "AbstractSource",
    "ClipInfo",
    "ClipTable",
    "Clips",
    "Grid",
    "Mask",
    "Masker",
    "Patchifier",
    "ProbeData",
    "Promises",
    "UnsupportedGridError",
    "__version__",
    "check_encoder",
    "check_masker",
    "check_patchifier",
    "check_probe",
    "check_source",
    "load_encoder",
    "plan",
    "results",
    "run",
]
_MODULES = {
    "ablate.audio.clips": ("ClipInfo", "ClipTable"),
    "ablate.audio.source": ("AbstractSource",),
    "ablate.export.encoder": ("load_encoder",),
    "ablate.model.masking": (
        *("AbstractMasker", "Clips", "Grid", "Mask", "Masker", "Promises", "UnsupportedGridError"),
    ),
    "ablate.model.patchify": ("AbstractPatchifier", "Patchifier"),
    "ablate.probing.probe": ("AbstractProbe", "ProbeData"),
    "ablate.report.dataframes": ("results",),
    "ablate.study.api": ("plan", "run"),
    "ablate.testing": (
        *("check_encoder", "check_masker", "check_patchifier", "check_probe", "check_source"),
    ),
}


def __getattr__(name: str) -> object:
    """Imports a public name when it is first used."""
    for module, names in _MODULES.items():
        if name in names:
            value: object = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module `ablate` has no attribute `{name}`")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
