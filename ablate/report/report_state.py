"""Says whether a report is what its runs, plan and code would give again, without drawing it.

The inputs of a report are its plan, the files of its runs, the pictures of masks, this package and
the libraries that it draws with. If the digest of all of them is that from which the report was
written, and its files are as they were written, writing it again would give the same bytes.
"""

import hashlib
import os
import platform
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ablate.core.git import ROOT
from ablate.core.records.findings import FINDINGS_FILE
from ablate.core.records.plan import StudyPlan
from ablate.core.records.report_state import STATE_FILE, ReportState
from ablate.runs.store import SCORES, list_run_folders

LIBRARIES = (
    *("numpy", "pandas", "scipy", "statsmodels", "matplotlib", "jinja2", "pyarrow", "pydantic"),
    *("pillow", "contourpy", "fonttools", "formulaic", "patsy", "plotly"),
)
FILES = ("index.html", "report.md", FINDINGS_FILE, "scores.csv", "scores.parquet")
FOLDERS = ("tables", "figures")
READ = (".json", ".jsonl")  # files of a run that a report reads, beside all files of its scores


def find_current_state(plan: StudyPlan, runs: Path, folder: Path) -> ReportState | None:
    """Returns the state in which a report was written if it is whole and nothing has changed.

    Args:
        plan: The plan of the study.
        runs: Folder of the run folders.
        folder: Folder of the report.
    """
    try:
        state = ReportState.find(folder / STATE_FILE)
    except ValueError:  # damaged, or of another version
        return None
    if state is None or state.inputs != compute_inputs_digest(plan, runs, folder):
        return None
    is_complete = all(
        value and _compute_digest(folder / name) == value for name, value in state.files.items()
    )
    return state if is_complete else None


def compute_inputs_digest(plan: StudyPlan, runs: Path, folder: Path) -> str:
    """Returns the digest of everything that a report is made of; arguments as above."""
    digest = hashlib.blake2b(digest_size=16)
    for part in _list_inputs(plan, runs, folder):
        digest.update(f"{len(part)} {part}".encode(errors="surrogatepass"))
    return digest.hexdigest()


def list_report_files(folder: Path) -> dict[str, str]:
    """Returns the digests of the files of a report by their path in its folder."""
    files = [folder / name for name in FILES if (folder / name).is_file()]
    files += [path for name in FOLDERS for path in _list_files(folder / name)]
    return {path.relative_to(folder).as_posix(): _compute_digest(path) for path in files}


def _list_inputs(plan: StudyPlan, runs: Path, folder: Path) -> Iterator[str]:
    yield plan.to_text()
    yield from (str(path) for path in (runs, folder))
    yield platform.python_version()
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            yield f"{name} {version(name)}"
    yield _compute_code_digest(ROOT / "ablate")
    gallery = plan.gallery
    pictures = [Path(gallery.folder, one.file) for one in gallery.pictures] if gallery else []
    for picture in pictures:
        for path in (folder / picture, picture):
            yield f"{path} {_compute_digest(path)}"
    for run in list_run_folders(plan, runs):
        for path in _list_files(run):
            below = path.relative_to(run)
            is_read = below.parts[0] == SCORES or path.suffix in READ
            yield f"{run.name} {below} {_compute_digest(path) if is_read else ''}"


@lru_cache
def _compute_code_digest(package: Path) -> str:
    """Returns the digest of this package, with its templates, as it was first asked for."""
    paths = [path for path in _list_files(package) if path.suffix != ".pyc"]
    lines = [f"{path.relative_to(package)} {_compute_digest(path)}" for path in paths]
    return hashlib.blake2b(
        "\n".join(lines).encode(errors="surrogatepass"), digest_size=16
    ).hexdigest()


def _list_files(folder: Path) -> list[Path]:
    """Lists the files below a folder in a fixed order, without following links to folders."""
    return sorted(Path(place) / name for place, _, names in os.walk(folder) for name in names)


def _compute_digest(path: Path) -> str:
    """Returns the digest of a file; an empty text if it cannot be read."""
    with suppress(OSError):
        return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return ""
