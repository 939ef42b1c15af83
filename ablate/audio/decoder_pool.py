"""Decodes clips in several processes, and returns them in order.

Clip i is decoded by process i modulo their number. Each is read by a thread into a bounded queue,
so that it can be some clips ahead of the one that is being written.
"""

import contextlib
import itertools
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Self

import numpy as np

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clip_decoding import ClipFacts, Decoding
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.source import AbstractSource
from ablate.audio.store_journal import Frames
from ablate.core.records.decoding import DECODER_MESSAGES, ClipEnd, DecodeOrder, FramesHead
from ablate.core.records.protocol import parse_message
from ablate.core.records.record import FormatError
from ablate.parts import resolve

COMMAND = (sys.executable, "-m", "ablate.audio.decoding_process")
MAX_WAITING = 32  # blocks of frames that a process may be ahead
# Memory that a clip has freed serves the next one. By default glibc returns it to the system, and
# gets it again page by page, which takes a sixth of the time of decoding.
MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(2**28), "MALLOC_MMAP_THRESHOLD_": str(2**26)}


class DecoderFailedError(RuntimeError):
    """A decoding process ended before it had decoded its clips."""


class DecoderPool:
    """Processes that decode clips; use it as a context manager.

    Args:
        source: source of the clips; a process builds it again from its settings.
        front_end: converts waveforms to frames.
        indices: clips in the order in which `decode` is called.
        num_processes: number of processes.
    """

    def __init__(
        self,
        source: AbstractSource,
        front_end: AbstractFrontEnd,
        indices: Sequence[int],
        num_processes: int,
    ) -> None:
        paths = source.clips().paths
        self._bands = front_end.bands
        self._decoders: list[_Decoder] = []
        settings = resolve(source), resolve(front_end)
        for first in range(num_processes):
            clips = tuple((index, paths[index]) for index in indices[first::num_processes])
            order = DecodeOrder(source=settings[0], front_end=settings[1], clips=clips)
            self._decoders.append(_Decoder(order, front_end.bands))
        self._cycle = itertools.cycle(self._decoders)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for decoder in self._decoders:
            decoder.close()

    def decode(self, path: str) -> Decoding:
        """Yields the frames of the next clip and returns its facts; `path` is for messages.

        Raises:
            BadAudioError: the clip cannot be used.
            DecoderFailedError: its process has ended.
        """
        decoder = next(self._cycle)
        while not isinstance(item := decoder.read(), ClipEnd):
            yield item
        if item.reasons:
            raise BadAudioError(*((path, reason) for reason in item.reasons))
        return ClipFacts(item.digest, item.flags)

    def wait(self) -> None:
        """Waits until every process has decoded its clips and ended."""
        for decoder in self._decoders:
            decoder.wait()


class _Decoder:
    """One decoding process, and the thread that reads it."""

    def __init__(self, order: DecodeOrder, bands: int) -> None:
        self._bands = bands
        self._process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**MALLOC, **os.environ},
        )
        self._items: queue.Queue[Frames | ClipEnd | None] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._receive, args=(order,), daemon=True)
        self._thread.start()

    def read(self) -> Frames | ClipEnd:
        item = self._items.get()
        if item is None:
            self._items.put(None)  # for the next clip
            raise DecoderFailedError(f"a decoding process ended with code {self._process.wait()}")
        return item

    def wait(self) -> None:
        self._process.wait()

    def close(self) -> None:
        self._process.kill()
        while self._thread.is_alive():  # it may wait for room in the queue
            with contextlib.suppress(queue.Empty):
                self._items.get(timeout=0.05)
        self._process.wait()

    def _receive(self, order: DecodeOrder) -> None:
        """Sends the order and passes on what comes back, then None."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._process.stdout, contextlib.suppress(BrokenPipeError, FormatError, ValueError):
            with self._process.stdin as orders:
                orders.write(order.to_line().encode())
            for line in self._process.stdout:
                message = parse_message(line, DECODER_MESSAGES)
                if isinstance(message, FramesHead):
                    size = message.frames * self._bands
                    content = self._process.stdout.read(2 * size)
                    frames = np.frombuffer(content, dtype=np.float16, count=size)
                    self._items.put(frames.reshape(message.frames, self._bands))
                elif isinstance(message, ClipEnd):
                    self._items.put(message)
        self._items.put(None)
