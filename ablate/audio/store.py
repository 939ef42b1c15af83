"""The clip store: every clip of a source as log-mel frames on disk, computed once, memory-mapped.

Opening a store builds what is missing of it. A clip is decoded again only if its file changed.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from filelock import FileLock

from ablate.audio.journal import Frames, Journal, Row, committed, mapped
from ablate.audio.labels import check_labels
from ablate.audio.mel import AbstractFrontEnd
from ablate.audio.sources import AbstractSource, BadAudioError, ClipInfo
from ablate.parts import identity

Progress = Callable[[int, int], None]  # clips done, clips in all
_MISSING = "no such file"


class ClipStore:
    """The clips of a source as frames; those that were left out are listed in `skipped`."""

    def __init__(self, clips: Sequence[tuple[ClipInfo, Row]], frames: Frames) -> None:
        kept = [(clip, row) for clip, row in clips if not row.reason]
        self.clips = tuple(clip for clip, _ in kept)
        self.skipped = tuple((clip.path, row.reason) for clip, row in clips if row.reason)
        self.lengths = np.array([row.frames for _, row in kept], dtype=np.int64)
        self.digest = _digest(kept)
        self._first = np.array([row.first for _, row in kept], dtype=np.int64)
        self._frames = frames

    @property
    def bands(self) -> int:
        """The number of mel bands."""
        return int(self._frames.shape[1])

    def frames(self, index: int) -> npt.NDArray[np.float32]:
        """Returns one clip, (frames, bands)."""
        return self.piece(index, 0, int(self.lengths[index])).astype(np.float32)

    def piece(self, index: int, start: int, stop: int) -> Frames:
        """Returns some frames of one clip as they are stored; past its end there are none."""
        first, last = self._first[index], min(stop, int(self.lengths[index]))
        return self._frames[first + start : first + last]


def store_key(source: AbstractSource, front_end: AbstractFrontEnd) -> str:
    """Names a store's folder, 16 hex digits: all settings, and where the clips are listed."""
    settings = identity(front_end)
    settings.pop("normalisation", None)  # of what is read, not of what is stored
    key = [identity(source), source.location, settings]
    return hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()


def open_store(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    cache: Path,
    *,
    progress: Progress | None = None,
) -> ClipStore:
    """Opens the store of a source in a folder of its own below `cache`; builds what it lacks.

    Of several processes one builds and the others wait for it. Raises `BadAudioError` naming
    the clips that are missing, before anything is decoded, or that are broken, and `ValueError`
    for labels that cannot be probed.
    """
    clips = source.clips()
    check_labels(clips)
    stamps = [source.stamp(index) for index in range(len(clips))]
    missing = [clip.path for clip, stamp in zip(clips, stamps, strict=True) if stamp is None]
    if missing and not source.skips_bad_audio:
        raise BadAudioError(*((path, _MISSING) for path in missing))
    folder = cache / store_key(source, front_end)
    listing = _listing(clips, stamps)
    rows = committed(folder, listing)
    if rows is None:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock"), _one_thread():
            rows = committed(folder, listing)  # somebody may have built it meanwhile
            if rows is None:
                journal = Journal(folder, front_end.bands)
                rows = _build(source, front_end, stamps, journal, progress)
                journal.commit(listing, rows)
    store = ClipStore(list(zip(clips, rows, strict=True)), mapped(folder, front_end.bands, rows))
    check_labels(store.clips)  # again: some may have been skipped
    return store


def _build(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    stamps: list[str | None],
    journal: Journal,
    progress: Progress | None,
) -> list[Row]:
    """Decodes every clip that the journal does not hold; gives a row for each clip."""
    clips, rows = source.clips(), dict[str, Row]()  # by path: one file may serve two tasks
    often = max(1, len(clips) // 200)
    for index, (clip, stamp) in enumerate(zip(clips, stamps, strict=True)):
        if stamp is None:
            rows[clip.path] = Row(clip.path, "", reason=_MISSING)
        elif clip.path not in rows:
            rows[clip.path] = journal.find(clip.path, stamp) or _decode(
                source, front_end, index, clip.path, stamp, journal
            )
        if progress and ((index + 1) % often == 0 or index + 1 == len(clips)):
            progress(index + 1, len(clips))
    bad = [(row.path, row.reason) for row in rows.values() if row.reason]
    if bad and not source.skips_bad_audio:
        raise BadAudioError(*bad)
    return [rows[clip.path] for clip in clips]


def _decode(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    index: int,
    path: str,
    stamp: str,
    journal: Journal,
) -> Row:
    try:
        samples, sample_rate = source.read(index)
        frames = front_end(torch.from_numpy(samples), sample_rate).numpy()
        if not np.isfinite(frames).all():
            raise BadAudioError((path, f"is too loud, up to {np.abs(samples).max():.2g}"))
    except BadAudioError as error:
        # all bad clips are reported at once, when the others have been decoded
        return Row(path, stamp, reason="; ".join(reason for _, reason in error.clips))
    return journal.append(path, stamp, source.content_digest(index), frames.astype(np.float16))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: a clip is too short for more, and workers share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _listing(clips: list[ClipInfo], stamps: list[str | None]) -> str:
    """Hashes the files as they are now: where they differ, a store is to be brought up to date."""
    listed = [[clip.path, stamp] for clip, stamp in zip(clips, stamps, strict=True)]
    return hashlib.blake2b(json.dumps(listed).encode(), digest_size=16).hexdigest()


def _digest(clips: list[tuple[ClipInfo, Row]]) -> str:
    """Hashes the data itself: the same clips and labels hash alike wherever they lie."""
    rows = sorted(
        [clip.path, clip.label, clip.task, clip.split, clip.fold, row.digest] for clip, row in clips
    )
    return hashlib.blake2b(json.dumps(rows).encode(), digest_size=16).hexdigest()
