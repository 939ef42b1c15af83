"""Measures the parts of decoding in several processes, and computes from them how it scales."""

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import soundfile

from ablate.audio.clip_decoder import TRIAL_SECONDS, write_clip
from ablate.audio.clip_decoding import decode_clip
from ablate.audio.decoder_pool import DecoderPool
from ablate.audio.mel import LogMel
from ablate.audio.sources import Folder
from ablate.audio.store_journal import Journal

ROUNDS = 5
CLIPS, SECONDS, RATE = 100, 10, 44100  # the sound to decode
KEY = np.zeros(2, dtype=np.uint64)


class DecodingCosts(NamedTuple):
    """CPU seconds of the parts of decoding."""

    alone: float  # a clip, decoded and written by one process
    sent: float  # a clip, by a further process that sends its frames
    received: float  # a clip, received and written
    start: float  # start of a further process


def measure_decoding() -> DecodingCosts:
    """Measures the parts in alternation; each is the median over rounds."""
    with tempfile.TemporaryDirectory() as name:
        source = _write_sounds(Path(name))
        rounds = [_measure_round(source, Path(name) / str(number)) for number in range(ROUNDS)]
    return DecodingCosts(*(median(parts) for parts in zip(*rounds, strict=True)))


def compute_speed_up(costs: DecodingCosts, num_clips: int, num_cores: int) -> float:
    """Computes how many times faster several processes decode a corpus on as many cores.

    One process tries for a second, and all start at once. Then the work, receiving included, is
    divided among the cores, and takes at least as long as one process needs to receive it all.
    """
    num_left = num_clips - TRIAL_SECONDS / costs.alone
    shared = (costs.sent + costs.received) / num_cores
    together = TRIAL_SECONDS + costs.start + num_left * max(shared, costs.received)
    return num_clips * costs.alone / together


def list_decoding_ratios(costs: DecodingCosts) -> Iterator[tuple[str, str, float]]:
    """Yields what is compared, with what, and how many times faster it is."""
    clip = f"{SECONDS} s of {RATE / 1000:g} kHz FLAC"
    yield "receiving and writing a clip", f"decoding it, {clip}", costs.alone / costs.received
    further = costs.alone / (costs.sent + costs.received)
    yield "a clip by a further process, both counted", "decoding and writing it alone", further
    for clips, cores in ((6_000, 2), (100_000, 2), (100_000, 16)):
        what = f"{clips:,} clips on {cores} cores, computed"
        yield what, "one core", compute_speed_up(costs, clips, cores)


def _measure_round(source: Folder, folder: Path) -> DecodingCosts:
    indices, front_end = [*range(CLIPS)], LogMel()
    for index in indices[:10]:
        for _ in decode_clip(source, front_end, index):
            pass
    journal, started = _create_journal(folder / "alone"), time.process_time()
    for index in indices:
        write_clip(decode_clip(source, front_end, index), KEY, journal)
    alone = time.process_time() - started
    journal, started = _create_journal(folder / "received"), time.process_time()
    before = _read_children_seconds()
    with DecoderPool(source, front_end, indices, 1) as pool:
        for index in indices:
            write_clip(pool.decode(str(index)), KEY, journal)
        pool.wait()
        received = time.process_time() - started
    after_all = _read_children_seconds()
    with DecoderPool(source, front_end, indices[:1], 1) as pool:
        for _ in pool.decode("0"):
            pass
        pool.wait()
    start = _read_children_seconds() - after_all
    sent = after_all - before - start
    return DecodingCosts(alone / CLIPS, sent / (CLIPS - 1), received / CLIPS, start)


def _create_journal(folder: Path) -> Journal:
    folder.mkdir(parents=True)
    return Journal(folder, LogMel().bands, np.zeros(0, dtype=np.int64))


def _read_children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _write_sounds(folder: Path) -> Folder:
    """Writes FLAC files and their manifest."""
    generator = np.random.default_rng(0)
    lines = ["path,label,split"]
    for number in range(CLIPS):
        samples = generator.uniform(-0.3, 0.3, SECONDS * RATE)
        soundfile.write(folder / f"{number}.flac", samples, RATE)
        lines.append(f"{number}.flac,a,train")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Folder(manifest=str(folder / "manifest.csv"))
