"""Writes a trained run's encoder into a folder of its own, ready to be loaded or handed on.

encoder.json          the settings that front end, patchifier and encoder are built of
encoder.safetensors   the weights, and the statistics by which its input was normalised
README.md             a model card
xares_encoder.py      the encoder as X-ARES takes it
"""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from ablate.core.io import open_atomically, read_json, write_atomically, write_json
from ablate.core.records.run import RunConfig
from ablate.export.model_card import card

FORMAT = 1  # of `encoder.json`
WEIGHTS, SETTINGS = "encoder.safetensors", "encoder.json"
PARTS = ("mel", "patchifier", "encoder", "crop_frames")

_XARES = '''"""The encoder of run {name} as X-ARES takes it: run it with this file's path."""

from pathlib import Path

from ablate.export import xares

{name_of_class} = xares.class_for(Path(__file__).parent, "{name_of_class}")
'''


def export(run: Path, folder: Path) -> Path:
    """Writes what `run`, the folder of a run that is done, has learnt into `folder`; returns it.

    Raises `ValueError` where there is nothing to export, or where `folder` holds something else.
    """
    weights, config = run / WEIGHTS, run / "config.json"
    if not weights.is_file() or not config.is_file():
        raise ValueError(f"`{run}` holds no trained encoder; give the folder of a run that is done")
    settings = RunConfig.read(config).settings
    told = {
        "format": FORMAT,
        "run": run.resolve().name,
        "weights": _digest(weights),
        **{name: settings[name] for name in PARTS},
    }
    _refuse_another(folder, told)
    with weights.open("rb") as source, open_atomically(folder / WEIGHTS) as copy:
        shutil.copyfileobj(source, copy)
    write_atomically(folder / "README.md", card(told, settings, run))
    name = f"Ablate{told['run']}{told['weights'][:8]}Encoder"
    text = _XARES.format(name=told["run"], name_of_class=name)
    write_atomically(folder / "xares_encoder.py", text)
    write_json(folder / SETTINGS, told)  # last: it says that all is there
    return folder


def use(folder: Path) -> list[str]:
    """Returns lines of Python that take features from an exported encoder."""
    return [
        "import ablate",
        f'encoder = ablate.load_encoder("{folder.as_posix()}")',
        'features = encoder.features("dog.wav")',
    ]


def _refuse_another(folder: Path, told: dict[str, Any]) -> None:
    if not folder.exists() or not any(folder.iterdir()):
        return
    found = folder / SETTINGS
    if not found.is_file() or read_json(found)["run"] != told["run"]:
        raise ValueError(f"`{folder}` holds something else; name a folder that is new or empty")


def _digest(weights: Path) -> str:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
