"""Decodes the clips of a store one after the other, on all cores if there are many.

The frames, and their order in the store, do not depend on the number of processes.
"""

import logging
import time
from typing import Self

from ablate.audio.clip_decoding import ClipFacts, Decoding, decode_clip
from ablate.audio.decoder_pool import DecoderFailedError, DecoderPool
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.source import AbstractSource
from ablate.audio.store_journal import Journal, Keys
from ablate.core.cores import count_cores

TRIAL_SECONDS = 1.0  # after which the time that is left is estimated
MIN_SECONDS_LEFT = 6.0  # a process takes about one second to start

logger = logging.getLogger(__name__)


class ClipDecoder:
    """Decodes clips in order; use it as a context manager.

    Args:
        source: source of the clips.
        front_end: converts waveforms to frames.
        needed: clips that `decode` is called for, in this order.
        num_processes: number of further processes that decode; 0 for none. By default one per
            core, once the first clips show that it would take long without.
    """

    def __init__(
        self,
        source: AbstractSource,
        front_end: AbstractFrontEnd,
        needed: list[int],
        num_processes: int | None = None,
    ) -> None:
        self._source, self._front_end = source, front_end
        self._needed, self._num_done = needed, 0
        self._pool: DecoderPool | None = None
        self._chosen = num_processes is not None
        self._first_done: float | None = None  # when the first clip, which takes longer, was done
        if num_processes:
            self._pool = DecoderPool(source, front_end, needed, num_processes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._close_pool()

    def decode(self, index: int, key: Keys, journal: Journal) -> int:
        """Decodes a clip into the journal; returns its record. Raises `BadAudioError`.

        A clip that is not the next of `needed` is decoded in this process.
        """
        if not self._chosen:
            self._choose()
        if self._needed[self._num_done : self._num_done + 1] == [index]:
            self._num_done += 1
            if self._pool is not None:
                try:
                    decoding = self._pool.decode(self._source.clips().paths[index])
                    return write_clip(decoding, key, journal)
                except DecoderFailedError as error:
                    logger.warning("%s; decoding goes on in one process", error)
                    self._close_pool()
        return write_clip(decode_clip(self._source, self._front_end, index), key, journal)

    def _choose(self) -> None:
        """Starts processes if the clips that are left take long enough."""
        if not self._num_done:
            return
        if self._first_done is None:
            self._first_done = time.monotonic()
        elapsed, num_left = time.monotonic() - self._first_done, len(self._needed) - self._num_done
        if elapsed < TRIAL_SECONDS or self._num_done < 2:
            return
        self._chosen = True
        num_cores = count_cores()
        if num_cores > 1 and elapsed / (self._num_done - 1) * num_left > MIN_SECONDS_LEFT:
            left = self._needed[self._num_done :]
            self._pool = DecoderPool(self._source, self._front_end, left, num_cores)

    def _close_pool(self) -> None:
        if self._pool is not None:
            self._pool.__exit__()
            self._pool = None


def write_clip(decoding: Decoding, key: Keys, journal: Journal) -> int:
    """Writes the frames and then the record of a clip; returns the record's index.

    Raises whatever `decoding` raises.
    """
    facts: list[ClipFacts] = []

    def blocks() -> Decoding:
        facts.append((yield from decoding))
        return facts[0]

    written = journal.write_frames(blocks())
    return journal.append(key, facts[0].digest, written, facts[0].flags)
