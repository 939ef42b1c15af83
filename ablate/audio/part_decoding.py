"""Decodes one of several parts of a source's clips, so that several jobs share the work."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clip_decoder import ClipDecoder
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.source import AbstractSource
from ablate.audio.store import check_source, create_folder, get_store_paths, use_one_thread
from ablate.audio.store_builder import Progress
from ablate.audio.store_journal import Journal, Keys, find_last_records, read_records
from ablate.audio.store_parts import LOCK, DecodedParts, get_part_folder


@dataclass(frozen=True)
class Part:
    """One of `count` parts of a source's clips, numbered from 0: a range of their list."""

    number: int
    count: int

    def select(self, num_clips: int) -> range:
        """Returns the indices of its clips; those of all parts together are all clips."""
        first, last = (
            num_clips * number // self.count for number in (self.number, self.number + 1)
        )
        return range(first, last)


class PartCounts(NamedTuple):
    """The clips that were decoded for a part."""

    num_decoded: int
    num_bad: int  # cannot be used; whoever builds the store says why


def decode_part(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    cache: Path,
    part: Part,
    *,
    progress: Progress | None = None,
    num_processes: int | None = None,
) -> PartCounts:
    """Decodes the clips of a part that neither the store nor any of its parts has yet.

    Interrupted, it continues where it ended. `open_store` takes the clips over.

    Args:
        source: the clips.
        front_end: turns waveforms into frames.
        cache: the folder of all stores.
        part: which of the clips.
        progress: called with the number of clips done and of those to decode.
        num_processes: as in `ClipDecoder`.

    Raises:
        ValueError: as `check_source`, and if the cache cannot be written.
    """
    keys = check_source(source, probed=False)
    store, _ = get_store_paths(source, front_end, cache)
    folder = get_part_folder(store, part.number, part.count)
    if not _find_needed(source, store, front_end.bands, keys, part):
        return PartCounts(0, 0)
    num_bad = 0
    with create_folder(folder), FileLock(folder / LOCK), use_one_thread():
        journal = Journal(folder, front_end.bands, np.zeros(0, np.int64))
        # another process may have decoded some before it released the lock
        needed = _find_needed(source, store, front_end.bands, keys, part)
        with ClipDecoder(source, front_end, needed, num_processes) as decoder:
            for done, index in enumerate(needed, start=1):
                try:
                    decoder.decode(index, keys[index], journal)
                except BadAudioError:
                    num_bad += 1
                if progress:
                    progress(done, len(needed))
        journal.sync()
    return PartCounts(len(needed) - num_bad, num_bad)


def _find_needed(
    source: AbstractSource, store: Path, bands: int, keys: Keys, part: Part
) -> list[int]:
    """Returns the clips of a part that exist and that are not decoded, each path once."""
    clips = source.clips()
    wanted = np.zeros(len(clips), dtype=bool)
    wanted[part.select(len(clips))] = True
    wanted &= clips.first_with_path == np.arange(len(clips))
    wanted &= np.any(keys, axis=1)
    wanted &= find_last_records(read_records(store), keys) < 0
    wanted &= ~DecodedParts(store, bands, keys).has
    needed: list[int] = np.flatnonzero(wanted).tolist()
    return needed
