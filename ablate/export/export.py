"""Exports the encoder of a trained run into a folder from which it can be loaded or published.

encoder.json          the settings of front end, patchifier and encoder
encoder.safetensors   the weights, and the normalisation statistics of the input
README.md             a model card
xares_encoder.py      the encoder as X-ARES and XARES-LLM load it
config.json, modeling_ablate.py  the encoder as `transformers.AutoModel` loads it
source/               on request, the Python files of parts that are not of ablate
"""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

from ablate import __version__
from ablate.core.io import open_atomically, read_json, write_atomically
from ablate.core.records.export import EXPORT_FILE, CardDetails, ExportedEncoder
from ablate.core.records.run import CONFIG_FILE, ENCODER_FILE, RunConfig
from ablate.export.model_card import NO_DETAILS, format_model_card
from ablate.export.own_parts import copy_source, list_own_modules
from ablate.export.transformers_form import create_transformers_files

_XARES = '''"""The encoder of run {name} for X-ARES and XARES-LLM: pass it the path of this file."""

from pathlib import Path

from ablate.export import xares

{class_name} = xares.create_encoder_class(Path(__file__).parent, "{class_name}")
'''


def export_encoder(
    run: Path, folder: Path, card: CardDetails = NO_DETAILS, *, with_source: bool = False
) -> Path:
    """Exports the encoder of a finished run.

    Args:
        run: the folder of the run.
        folder: the folder to write: new, empty, or an earlier export of the same run.
        card: what the model card says beside settings and scores.
        with_source: whether to copy the Python files of parts that are not of ablate. Without them,
            whoever loads the encoder has to install these modules.

    Returns:
        `folder`.

    Raises:
        ValueError: if the run has no trained encoder, or `folder` contains anything else.

    Example:
        >>> export_encoder(Path("runs/3f2a9c1b07"), Path("exported"))  # doctest: +SKIP
        >>> encoder = ablate.load_encoder("exported")  # doctest: +SKIP
    """
    record = describe_run(run)
    _check_folder(folder, record.run)
    if with_source:
        record = replace(record, source=tuple(copy_source(record.modules, folder)))
    with (run / ENCODER_FILE).open("rb") as source, open_atomically(folder / ENCODER_FILE) as copy:
        shutil.copyfileobj(source, copy)
    settings = RunConfig.read(run / CONFIG_FILE).settings
    write_atomically(folder / "README.md", format_model_card(record, settings, run, card))
    class_name = f"Ablate{record.run}{record.weights[:8]}Encoder"
    for name, text in create_transformers_files(record).items():
        write_atomically(folder / name, text)
    text = _XARES.format(name=record.run, class_name=class_name)
    write_atomically(folder / "xares_encoder.py", text)
    record.write(folder / EXPORT_FILE)  # last: its presence marks the export as complete
    return folder


def describe_run(run: Path) -> ExportedEncoder:
    """Returns the settings of the encoder in a run's folder.

    Raises `ValueError` if the run has no trained encoder.
    """
    weights, config = run / ENCODER_FILE, run / CONFIG_FILE
    if not weights.is_file() or not config.is_file():
        raise ValueError(f"`{run}` has no trained encoder; pass the folder of a finished run")
    settings = RunConfig.read(config).settings
    encoder_settings = [settings[name] for name in ("mel", "patchifier", "encoder")]
    return ExportedEncoder(
        run=run.resolve().name,
        weights=_compute_digest(weights),
        mel=settings["mel"],
        patchifier=settings["patchifier"],
        encoder=settings["encoder"],
        crop_frames=settings["crop_frames"],
        version=__version__,
        modules=tuple(list_own_modules(encoder_settings)),
    )


def read_settings(folder: Path) -> ExportedEncoder:
    """Reads the settings of the encoder in an exported folder, or in the folder of a run.

    Raises `ValueError` for any other folder.
    """
    if (folder / EXPORT_FILE).is_file():
        return ExportedEncoder.read(folder / EXPORT_FILE)
    if (folder / CONFIG_FILE).is_file():
        return describe_run(folder)
    raise ValueError(
        f"`{folder}` has no `{EXPORT_FILE}`; write one with `ablate export RUN --to {folder}`"
    )


def format_usage(folder: Path) -> list[str]:
    """Returns lines of Python that compute features with an exported encoder."""
    return [
        "import ablate",
        f'encoder = ablate.load_encoder("{folder.as_posix()}")',
        'features = encoder.features("dog.wav")',
    ]


def _check_folder(folder: Path, run: str) -> None:
    """Raises `ValueError` if the folder contains anything but an export of this run."""
    if not folder.exists() or not any(folder.iterdir()):
        return
    settings = folder / EXPORT_FILE
    if not settings.is_file() or read_json(settings).get("run") != run:
        raise ValueError(f"`{folder}` contains other files; choose a new or empty folder")


def _compute_digest(weights: Path) -> str:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
