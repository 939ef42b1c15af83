"""Lists the audio files below a folder, and counts the files that it skips, by reason."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_READABLE = (  # every format that libsndfile recognises in a file
    "wav wave bwf rf64 w64 flac ogg oga opus mp3 mp2 aiff aif aifc au snd caf sph nist voc iff svx "
    "8svx sf ircam paf pvf avr wve xi htk sds"
)
_UNREADABLE = (  # audio and video that libsndfile does not read
    "m4a m4b mp4 aac wma webm mkv mka mov 3gp amr ac3 ape wv tta dsf dff mpc ra rm spx mid midi "
    "avi ogv mpg mpeg ts flv"
)
AUDIO_SUFFIXES = frozenset(f".{name}" for name in _READABLE.split())
_UNREADABLE_SUFFIXES = frozenset(f".{name}" for name in _UNREADABLE.split())
_SYSTEM_FOLDERS = frozenset(
    (
        *("__macosx", "__pycache__", "lost+found", "system volume information", "$recycle.bin"),
        *("@eadir", "@tmp", "@recycle", "#recycle", "#snapshot"),
    )
)


@dataclass
class FolderScan:
    """The files below a folder.

    Attributes:
        folder: the folder.
        files: the audio files, relative to the folder, sorted.
        unreadable: suffix -> number of audio files of formats that are not read.
        hidden: number of audio files that are hidden or in hidden and system folders.
        system_folders: the names of these folders.
        others: suffix -> number of files that are not audio.
        problems: what could not be followed: links without a target, in circles, closed folders.
    """

    folder: Path
    files: list[Path] = field(default_factory=list)
    unreadable: Counter[str] = field(default_factory=Counter)
    hidden: int = 0
    system_folders: set[str] = field(default_factory=set)
    others: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def describe(self) -> Iterator[str]:
        """Yields one line per cause."""
        if self.unreadable:
            number = self.unreadable.total()
            names = ", ".join(
                f"{count} {suffix}" for suffix, count in sorted(self.unreadable.items())
            )
            listed = names if len(self.unreadable) > 1 else next(iter(self.unreadable))
            yield (
                f"{number} files {listed} are in a format that cannot be read; convert them to "
                "FLAC, for instance with `ffmpeg -i FILE FILE.flac`"
            )
        if self.hidden:
            names = ", ".join(f"`{name}`" for name in sorted(self.system_folders))
            place = f", in {names}" if names else ""
            yield f"{self.hidden} audio files are hidden or belong to the system{place}"
        if self.others:
            names = ", ".join(suffix or "without ending" for suffix in sorted(self.others)[:5])
            more = ", ..." if len(self.others) > 5 else ""
            yield f"{self.others.total()} files are not audio ({names}{more})"
        yield from self.problems


def scan_folder(folder: Path) -> FolderScan:
    """Lists the audio files below a folder; links are followed, and those in circles named."""
    scan = FolderScan(folder)
    _scan(folder, Path(), (), scan, is_hidden=False)
    scan.files.sort()
    return scan


def _scan(
    folder: Path, relative: Path, parents: tuple[str, ...], scan: FolderScan, *, is_hidden: bool
) -> None:
    real = os.path.realpath(folder)
    if real in parents:
        scan.problems.append(f"the link `{relative.as_posix()}` leads back to a folder above it")
        return
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        reason = error.strerror or str(error)
        scan.problems.append(f"the folder `{relative.as_posix()}` cannot be listed ({reason})")
        return
    for entry in entries:
        path = relative / entry.name
        if entry.is_dir():
            hides = _is_system_folder(entry.name)
            if hides and not is_hidden:
                before = scan.hidden
                _scan(folder / entry.name, path, (*parents, real), scan, is_hidden=True)
                if scan.hidden > before:
                    scan.system_folders.add(entry.name)
            else:
                _scan(folder / entry.name, path, (*parents, real), scan, is_hidden=is_hidden)
        elif entry.is_file():
            _add_file(path, scan, is_hidden=is_hidden or entry.name.startswith("."))
        elif entry.is_symlink():
            scan.problems.append(f"the link `{path.as_posix()}` has no target")


def _is_system_folder(name: str) -> bool:
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def _add_file(path: Path, scan: FolderScan, *, is_hidden: bool) -> None:
    suffix = path.suffix.lower()
    if suffix in AUDIO_SUFFIXES:
        if is_hidden:
            scan.hidden += 1
        else:
            scan.files.append(path)
    elif is_hidden:
        return
    elif suffix in _UNREADABLE_SUFFIXES:
        scan.unreadable[suffix] += 1
    else:
        scan.others[suffix] += 1


def describe_missing(file: Path) -> str:
    """Describes a missing file, with one of a similar name in its folder, if there is any.

    Names that look alike may differ in case, in spaces, or in how accents are encoded. For a path
    that no file can have, or that this user may not use, returns why.
    """
    try:
        file.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:
        return f"cannot be opened ({getattr(error, 'strerror', None) or error})"
    wanted = _simplify(file.name)
    try:
        similar = next(
            path.name for path in file.parent.iterdir() if _simplify(path.name) == wanted
        )
    except (OSError, StopIteration):
        return "no such file"
    return f"no such file; there is {similar!r}, which differs in case, spaces or accents"


def _simplify(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()
