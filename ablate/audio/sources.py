"""Where clips come from: a source lists its clips, labelled, and reads each as a waveform."""

import csv
import hashlib
import os
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import soundfile

from ablate.parts import nearest

SPLITS = ("train", "valid", "test")
_SPELLINGS = {
    **{split: split for split in SPLITS},
    **{"val": "valid", "validation": "valid", "dev": "valid"},
}


class BadAudioError(ValueError):
    """Clips whose sound cannot be used: the message names them, says why, and the way out."""

    def __init__(self, *clips: tuple[str, str]) -> None:
        problems = several([f"`{path}`: {reason}" for path, reason in clips])
        way_out = "mend them, take them out of the manifest, or set `on_bad_audio: skip`"
        super().__init__(f"{problems}\n{way_out}")
        self.clips = clips  # (path, reason)


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip without hearing it. Either `split` or `fold` is given."""

    path: str  # relative to the manifest, with `/`
    label: str
    task: str
    split: str = ""  # train, valid or test
    fold: str = ""
    extra: dict[str, str] = field(default_factory=dict)  # further columns of the manifest


class AbstractSource(ABC):
    """Lists clips and reads them. Subclasses are frozen keyword-only dataclasses."""

    @abstractmethod
    def clips(self) -> list[ClipInfo]:
        """Lists every clip, always in one order. Raises `ValueError` if that is not possible."""

    @abstractmethod
    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Reads one clip: its samples, mixed to one channel, and its sample rate.

        Raises `BadAudioError` for a clip that cannot be used.
        """

    @abstractmethod
    def content_digest(self, index: int) -> str:
        """Names a clip's content, wherever the clip lies: equal digest, equal sound."""

    @abstractmethod
    def stamp(self, index: int) -> str | None:
        """Returns what changes, at a glance, when a clip's content does; None if it is missing."""

    @property
    @abstractmethod
    def location(self) -> str:
        """The absolute path the clips are listed at, or nothing for sounds made on the spot."""

    @property
    @abstractmethod
    def skips_bad_audio(self) -> bool:
        """Whether clips that are missing or broken are left out rather than refused."""


@dataclass(frozen=True, kw_only=True)
class Folder(AbstractSource):
    """Sound files of any format libsndfile reads, listed in a CSV file with a line each.

    Its columns: `path`, relative to the CSV file; the label; `split` (train, valid, test) or
    `fold`; and, where one file holds several tasks, `task`. Others are kept as they are. A clip
    may be listed once for each task, always with the same split.
    """

    manifest: str
    label: str = "label"  # the column to tell apart
    task: str = ""  # its name in reports; by default that of the manifest's folder
    on_bad_audio: Literal["raise", "skip"] = "raise"

    def __post_init__(self) -> None:
        if self.task and not _names_a_folder(self.task):
            raise ValueError(_unusable(self.task))

    def clips(self) -> list[ClipInfo]:
        """Lists the manifest's clips, in its order; it is read once."""
        return list(self._clips)

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], int]:
        """Decodes one file."""
        return decode(self._file(index), self._clips[index].path)

    def content_digest(self, index: int) -> str:
        """Hashes the file's bytes."""
        with self._file(index).open("rb") as file:
            return hashlib.file_digest(file, _digest).hexdigest()

    def stamp(self, index: int) -> str | None:
        """Returns size and time of change of the file, or None where there is none."""
        try:
            status = self._file(index).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return f"{status.st_size} {status.st_mtime_ns}"

    @property
    def location(self) -> str:
        """The manifest's absolute path."""
        return str(self._manifest)

    @property
    def skips_bad_audio(self) -> bool:
        """As `on_bad_audio` says."""
        return self.on_bad_audio == "skip"

    @property
    def _manifest(self) -> Path:
        return Path(self.manifest).expanduser().resolve()

    @cached_property
    def _clips(self) -> list[ClipInfo]:
        task = self.task or self._manifest.parent.name
        return _read_manifest(self._manifest, label=self.label, task=task)

    def _file(self, index: int) -> Path:
        return self._manifest.parent / self._clips[index].path


def decode(file: Path, path: str) -> tuple[npt.NDArray[np.float32], int]:
    """Reads a sound file: its samples, mixed to one channel, and its sample rate.

    Raises `BadAudioError`, which calls the file `path`.
    """
    try:
        with soundfile.SoundFile(file) as sound:
            samples = sound.read(dtype="float32", always_2d=True)
            expected, sample_rate = sound.frames, int(sound.samplerate)
    except (soundfile.SoundFileError, OSError) as error:
        raise BadAudioError((path, f"cannot be decoded ({error})")) from error
    if len(samples) == 0:
        raise BadAudioError((path, "holds no samples"))
    if len(samples) < expected:
        raise BadAudioError((path, f"breaks off after {len(samples)} of {expected} samples"))
    if not np.isfinite(samples).all():
        raise BadAudioError((path, "holds samples that are not finite numbers"))
    return samples.mean(axis=1, dtype=np.float32), sample_rate


def several(problems: Sequence[str]) -> str:
    """Joins the first five problems, and counts the rest."""
    rest = [f"... and {len(problems) - 5} more"] if len(problems) > 5 else []
    return "\n".join([*problems[:5], *rest])


def _digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)


def _names_a_folder(task: str) -> bool:
    return bool(task) and not task.startswith(".") and not {"/", "\\"} & set(task)


def _unusable(task: str) -> str:
    return (
        f"task `{task}` cannot name a folder of results; give a name without `/` and `\\` that "
        "does not begin with `.`, by the setting `task` or in the manifest's column `task`"
    )


def _read_manifest(manifest: Path, *, label: str, task: str) -> list[ClipInfo]:
    if not manifest.is_file():
        raise ValueError(f"no manifest at `{manifest}`; `ablate manifest` can write one")
    try:
        with manifest.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True, restkey="", restval="")
            columns = list(reader.fieldnames or [])
            rows = [(reader.line_num, row) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"`{manifest}` is not a CSV file in UTF-8: {error}") from error
    _check_columns(manifest, columns, label)
    if not rows:
        raise ValueError(f"`{manifest}` lists no clip; add a line for each below its header")
    problems: list[str] = []
    clips = []
    for line, row in rows:
        clip = _clip(row, label=label, task=task, root=manifest.parent)
        problems += [f"{manifest}:{line}: {problem}" for problem in _row_problems(row, clip)]
        clips.append(clip)
    twice = [key for key, number in Counter((c.path, c.task) for c in clips).items() if number > 1]
    problems += [f"`{manifest}` lists `{path}` twice; a clip has one label" for path, _ in twice]
    names = dict.fromkeys(clip.task for clip in clips)
    problems += [f"`{manifest}`: {_unusable(name)}" for name in names if not _names_a_folder(name)]
    if problems:
        raise ValueError(several(problems))
    return clips


def _check_columns(manifest: Path, columns: list[str], label: str) -> None:
    problems = [
        f"`{manifest}` has no column `{name}`{nearest(name, columns)}"
        for name in ("path", label)
        if name not in columns
    ]
    if not {"split", "fold"} & set(columns):
        problems.append(f"`{manifest}` has neither a column `split` nor `fold`; add one")
    if problems:
        raise ValueError("\n".join(problems))


def _clip(row: dict[str, str], *, label: str, task: str, root: Path) -> ClipInfo:
    cells = {name: cell.strip() for name, cell in row.items() if name}
    path = cells.pop("path")
    if Path(path).is_absolute():  # where the files lie is no part of what they are
        path = os.path.relpath(path, root)
    if path:
        path = Path(path).as_posix()  # `./a.wav` is `a.wav`: each clip goes by one name
    split = cells.pop("split", "")
    return ClipInfo(
        path=path,
        label=cells.pop(label),
        task=cells.pop("task", "") or task,
        split=_SPELLINGS.get(split.lower(), split),
        fold=cells.pop("fold", ""),
        extra=cells,
    )


def _row_problems(row: dict[str, str], clip: ClipInfo) -> list[str]:
    problems = []
    if row.get(""):
        problems.append("has more cells than the header; quote cells that hold a comma")
    if not clip.path:
        problems.append("the cell `path` is empty")
    if not clip.label:
        problems.append("the label is empty; give one or leave the line out")
    if clip.split and clip.fold:
        problems.append(f"has split `{clip.split}` and fold `{clip.fold}`; keep one of them")
    elif not clip.split and not clip.fold:
        problems.append("has neither a split nor a fold; give one")
    elif clip.split and clip.split not in SPLITS:
        problems.append(f"unknown split `{clip.split}`{nearest(clip.split, _SPELLINGS)}")
    return problems
