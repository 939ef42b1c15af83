"""Computes features of many audio files, and writes them to one table.

Files are decoded and encoded in groups. After each group its features are saved beside the table,
in `TABLE.partial`, so that an interrupted call continues where it was; a file that has changed
since is encoded again.
"""

import glob
import hashlib
import importlib.util
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeGuard

import numpy as np
import numpy.typing as npt

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.decoding import open_audio_file
from ablate.audio.folder_scan import AUDIO_SUFFIXES
from ablate.audio.manifest_reader import format_problems
from ablate.audio.streaming import ObservedStream
from ablate.audio.waveform_stream import WaveformStream
from ablate.core.distribution import format_install_command
from ablate.core.io import open_atomically

FILES_AT_ONCE = 64
SECONDS_AT_ONCE = 600.0  # audio per group; a single file may be longer
TABLE_SUFFIXES = (".parquet", ".npz")

Matrix = npt.NDArray[np.float32]
OnBadAudio = Literal["raise", "skip"]
OnProgress = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True)
class FileEncoder:
    """An encoder as far as features of files need it."""

    # a waveform (samples,) and its sample rate -> its frames
    to_frames: Callable[[WaveformStream], npt.NDArray[np.float16]]
    # the frames of each clip -> one feature vector per clip
    pool_frames: Callable[[Sequence[npt.NDArray[np.float16]]], Matrix]
    identity: str  # differs for every other encoder, layer and pooling


@dataclass(frozen=True)
class FileFeatures:
    """Features of files, in the order of `paths`."""

    paths: list[str]
    features: Matrix  # (files, dim)
    bad_files: list[tuple[str, str]]  # path and reason of files that could not be used


def is_several_files(sound: object) -> TypeGuard[str | Path]:
    """Whether a sound is a folder, or a pattern of files."""
    if not isinstance(sound, str | Path) or Path(sound).is_file():
        return False
    return Path(sound).is_dir() or glob.has_magic(str(sound))


def find_audio_files(place: str | Path) -> list[Path]:
    """Finds the audio files in a folder and its subfolders, or those that match a pattern.

    Args:
        place: A folder, or a pattern such as `folder/*.wav`; `**` stands for any subfolders.

    Returns:
        Paths, sorted.

    Raises:
        ValueError: If there are none.
    """
    if Path(place).is_dir():
        files = [file for file in Path(place).rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES]
    else:
        files = [Path(file) for file in glob.glob(str(place), recursive=True)]  # noqa: PTH207
    files = sorted(file for file in files if file.is_file() and not file.name.startswith("."))
    if not files:
        raise ValueError(
            f"`{place}` has no audio file; name a folder with files that end in "
            f"{', '.join(sorted(AUDIO_SUFFIXES))}, or a pattern such as `folder/*.wav`"
        )
    return files


def compute_file_features(
    encoder: FileEncoder,
    files: Sequence[Path],
    *,
    to: Path | None = None,
    on_bad_audio: OnBadAudio = "raise",
    on_progress: OnProgress | None = None,
) -> FileFeatures:
    """Computes one feature vector per file.

    Args:
        encoder: Computes the features.
        files: The files.
        to: The table to write, `.parquet` or `.npz`; it must not exist. None writes nothing.
        on_bad_audio: Whether files that cannot be decoded are an error, raised after all others are
            done, or left out.
        on_progress: Called after each group of files.

    Raises:
        ValueError: For a table that exists or has another suffix, and for files that cannot be
            decoded.
    """
    journal = None if to is None else _Journal.open(to, encoder.identity)
    done = {} if journal is None else journal.read(files)
    bad_files: list[tuple[str, str]] = []
    pending = [file for file in files if str(file) not in done]
    for group, frames in _decode_groups(encoder, pending, bad_files):
        vectors = encoder.pool_frames(frames)
        done |= zip(map(str, group), vectors, strict=True)
        if journal is not None:
            journal.add(group, vectors)
        if on_progress is not None:
            on_progress(len(done) + len(bad_files), len(files))
    if bad_files and (on_bad_audio == "raise" or not done):
        raise ValueError(_describe_bad_files(bad_files, to))
    paths = [str(file) for file in files if str(file) in done]
    result = FileFeatures(paths, np.stack([done[path] for path in paths]), bad_files)
    if journal is not None and to is not None:
        _write_table(to, result)
        journal.delete()
    return result


def _decode_groups(
    encoder: FileEncoder, files: Sequence[Path], bad_files: list[tuple[str, str]]
) -> Iterator[tuple[list[Path], list[npt.NDArray[np.float16]]]]:
    """Yields groups of files with their frames; adds files that cannot be decoded to a list."""
    group: list[Path] = []
    frames: list[npt.NDArray[np.float16]] = []
    seconds = 0.0
    for file in files:
        try:
            stream = ObservedStream(open_audio_file(file))
            frames.append(encoder.to_frames(stream))
        except BadAudioError as error:
            bad_files.extend(error.clips)
            continue
        group.append(file)
        seconds += stream.num_samples / stream.sample_rate
        if len(group) == FILES_AT_ONCE or seconds >= SECONDS_AT_ONCE:
            yield group, frames
            group, frames, seconds = [], [], 0.0
    if group:
        yield group, frames


@contextmanager
def show_progress(on_progress: OnProgress | None) -> Iterator[OnProgress]:
    """Yields a function that takes the progress: the given one, or a bar on a terminal."""
    if on_progress is not None:
        yield on_progress
        return
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("files", total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)


@dataclass(frozen=True)
class _Journal:
    """A folder beside the table with the features of the files that are done."""

    folder: Path
    key: str  # hash of the encoder: features of another one are not used

    @classmethod
    def open(cls, table: Path, identity: str) -> "_Journal":
        """Raises `ValueError` if the table cannot be written later."""
        if table.suffix not in TABLE_SUFFIXES:
            raise ValueError(f"`{table}` must end in {' or '.join(TABLE_SUFFIXES)}")
        if table.suffix == ".parquet" and importlib.util.find_spec("pyarrow") is None:
            raise ValueError(
                f"a `.parquet` table needs pyarrow: {format_install_command('parquet')}, "
                "or write `.npz`"
            )
        if table.exists():
            raise ValueError(f"`{table}` exists; delete it or choose another name")
        folder = table.with_name(f"{table.name}.partial")
        folder.mkdir(parents=True, exist_ok=True)
        return cls(folder, hashlib.sha256(identity.encode()).hexdigest()[:16])

    def read(self, files: Sequence[Path]) -> dict[str, npt.NDArray[np.float32]]:
        """Returns the features of those files that have not changed since, by path."""
        stamps = {str(file): _stamp(file) for file in files}
        done: dict[str, npt.NDArray[np.float32]] = {}
        for part in sorted(self.folder.glob(f"{self.key}-*.npz")):
            with np.load(part) as saved:
                rows = zip(saved["paths"], saved["stamps"], saved["features"], strict=True)
                done |= {str(p): row for p, stamp, row in rows if stamps.get(str(p)) == str(stamp)}
        return done

    def add(self, files: Sequence[Path], features: Matrix) -> None:
        content = {
            "paths": np.array([str(file) for file in files]),
            "stamps": np.array([_stamp(file) for file in files]),
            "features": features,
        }
        with open_atomically(self.folder / f"{self.key}-{secrets.token_hex(6)}.npz") as part:
            np.savez(part, **content)  # type: ignore[arg-type]

    def delete(self) -> None:
        shutil.rmtree(self.folder)


def _stamp(file: Path) -> str:
    """Returns a text that changes when the file does."""
    try:
        status = file.stat()
    except OSError:
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"


def _write_table(file: Path, result: FileFeatures) -> None:
    with open_atomically(file) as table:
        if file.suffix == ".npz":
            content: dict[str, Any] = {"paths": np.array(result.paths), "features": result.features}
            np.savez(table, **content)
            return
        import pyarrow
        import pyarrow.parquet

        values = pyarrow.array(result.features.ravel())
        vectors = pyarrow.FixedSizeListArray.from_arrays(values, result.features.shape[1])
        columns = {"path": pyarrow.array(result.paths), "features": vectors}
        pyarrow.parquet.write_table(pyarrow.table(columns), table)


def _describe_bad_files(bad_files: Sequence[tuple[str, str]], to: Path | None) -> str:
    problems = format_problems([f"`{path}`: {reason}" for path, reason in bad_files])
    kept = "" if to is None else "; all other files are kept, and the same call continues"
    return f"{problems}\nrepair or remove them, or pass `on_bad_audio='skip'`{kept}"
