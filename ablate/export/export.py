"""Exports the encoder of a trained run into a folder from which it can be loaded or published.

encoder.json          the settings of front end, patchifier and encoder
encoder.safetensors   the weights, and the normalisation statistics of the input
README.md             a model card
xares_encoder.py      the encoder as X-ARES and XARES-LLM load it
config.json, modeling_ablate.py  the encoder as `transformers.AutoModel` loads it
source/               on request, the Python files of parts that are not of ablate
.eval_results/        on request, scores for leaderboards of the Hugging Face Hub
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from ablate import __version__
from ablate.core.io import open_atomically, read_json, write_atomically
from ablate.core.records.export import EXPORT_FILE, CardDetails, ExportedEncoder
from ablate.core.records.run import CONFIG_FILE, ENCODER_FILE, RunConfig
from ablate.export.model_card import NO_DETAILS, format_model_card
from ablate.export.own_parts import SOURCE, copy_source, list_own_modules
from ablate.export.run_results import EVAL_RESULTS, create_eval_results, list_results
from ablate.export.transformers_form import create_transformers_files

_STAGED = ".export-"  # beginning of the name of a folder in which an export is prepared
_XARES = '''"""The encoder of run {name} for X-ARES and XARES-LLM: pass it the path of this file."""

from pathlib import Path

from ablate.export import xares

{class_name} = xares.create_encoder_class(Path(__file__).parent, "{class_name}")
'''


def export_encoder(
    run: Path, folder: Path, card: CardDetails = NO_DETAILS, *, with_source: bool = False
) -> Path:
    """Exports the encoder of a finished run; if that fails, `folder` is as it was before.

    Args:
        run: the folder of the run.
        folder: the folder to write: new, empty, or an earlier export of the same run.
        card: what the model card says beside settings and scores, and for which leaderboards.
        with_source: whether to copy the Python files of parts that are not of ablate. Without them,
            whoever loads the encoder has to install these modules.

    Returns:
        `folder`.

    Raises:
        ValueError: if the run has no trained encoder, or a damaged file of scores, or no score for
            a leaderboard, or `folder` contains anything else.

    Example:
        >>> export_encoder(Path("runs/3f2a9c1b07"), Path("exported"))  # doctest: +SKIP
        >>> encoder = ablate.load_encoder("exported")  # doctest: +SKIP
    """
    record = describe_run(run)
    _check_folder(folder, record.run)
    settings, results = RunConfig.read(run / CONFIG_FILE).settings, list(list_results(run))
    with _stage(folder) as staged:
        if with_source:
            record = replace(record, source=tuple(copy_source(record.modules, staged)))
        class_name = f"Ablate{record.run}{record.weights[:8]}Encoder"
        texts = {
            "README.md": format_model_card(record, settings, results, card),
            "xares_encoder.py": _XARES.format(name=record.run, class_name=class_name),
            **create_transformers_files(record),
            **create_eval_results(results, card.benchmarks),
        }
        for name, text in texts.items():
            write_atomically(staged / name, text)
        with open_atomically(staged / ENCODER_FILE) as copy, (run / ENCODER_FILE).open("rb") as own:
            shutil.copyfileobj(own, copy)
        record.write(staged / EXPORT_FILE)
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


@contextmanager
def _stage(folder: Path) -> Iterator[Path]:
    """Yields an empty folder, whose files move to `folder` if the block ends without an error.

    `encoder.json` moves last: its presence marks the export as complete. Folders in `folder` that
    an earlier export wrote are replaced.
    """
    is_new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=_STAGED, dir=folder))
    try:
        yield staged
        for name in (SOURCE, EVAL_RESULTS):
            shutil.rmtree(folder / name, ignore_errors=True)
        for entry in sorted(staged.iterdir(), key=lambda entry: entry.name == EXPORT_FILE):
            entry.replace(folder / entry.name)
    finally:
        for each in folder.glob(f"{_STAGED}*"):  # those of calls that were killed, too
            shutil.rmtree(each)
        if is_new:
            with suppress(OSError):  # it has files
                folder.rmdir()


def _check_folder(folder: Path, run: str) -> None:
    """Raises `ValueError` if the folder contains anything but an export of this run."""
    if not folder.exists() or all(entry.name.startswith(_STAGED) for entry in folder.iterdir()):
        return
    settings = folder / EXPORT_FILE
    if not settings.is_file() or read_json(settings).get("run") != run:
        raise ValueError(f"`{folder}` contains other files; choose a new or empty folder")


def _compute_digest(weights: Path) -> str:
    with weights.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
