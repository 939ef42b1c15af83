"""Builds a clip store: decodes each file once and collects those that cannot be used."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from ablate.audio.clips import ClipTable, compute_digest
from ablate.audio.column_file import StringColumn
from ablate.audio.labels import check_labels
from ablate.audio.mel import AbstractFrontEnd
from ablate.audio.sources import AbstractSource, BadAudioError
from ablate.audio.store_index import StoreIndex
from ablate.audio.store_journal import Journal, Keys

Progress = Callable[[int, int], None]  # number of clips done, number of all clips
_Records = npt.NDArray[np.int64]  # (clips,), row in the journal; -1 for a clip without one
MISSING = "no such file"
_SILENT = "is silent"
_SILENCE = 2e-4  # peak to peak: -80 dB, a few steps of 16 bits


def build_index(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    keys: Keys,
    journal: Journal,
    progress: Progress | None,
) -> StoreIndex:
    """Decodes every clip that is not in the journal and returns the index of the usable ones.

    Raises:
        BadAudioError: for all bad clips, unless the source skips them.
    """
    clips = source.clips()
    records, reasons = _decode_missing(source, front_end, keys, journal, progress)
    if reasons and not source.skips_bad_audio:
        raise BadAudioError(*((clips.paths[index], why) for index, why in reasons.items()))
    if source.skips_silence:
        decoded = np.flatnonzero(records >= 0)
        silent = decoded[journal.records["silent"][records[decoded]] > 0]
        reasons |= dict.fromkeys(silent.tolist(), _SILENT)
        records[silent] = -1
    records = records[clips.first_with_path]  # a file may be listed for several tasks
    journal.sync()
    return _create_index(source, records, reasons, keys, journal)


def _create_index(
    source: AbstractSource,
    records: _Records,
    reasons: dict[int, str],
    keys: Keys,
    journal: Journal,
) -> StoreIndex:
    clips = source.clips()
    kept, bad = np.flatnonzero(records >= 0), np.flatnonzero(records < 0)
    skipped = [*source.skipped_clips]
    skipped += [(clips.paths[int(i)], reasons[int(clips.first_with_path[i])]) for i in bad]
    table, rows, places = clips.take(kept), journal.records, records[kept]
    first, lengths = rows["first"][places], rows["frames"][places]
    return StoreIndex(
        clips=table,
        first=first,
        lengths=lengths,
        silent=rows["silent"][places] > 0,
        digest=compute_digest(table, lambda index: bytes(rows["digest"][places[index]]).decode()),
        skipped=(
            StringColumn.from_texts(path for path, _ in skipped),
            StringColumn.from_texts(why for _, why in skipped),
        ),
        keys=keys,
        list_version=source.list_version,
        label_problems=_find_label_problems(table),
        end=int((first + lengths).max(initial=0)),
    )


def _decode_missing(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    keys: Keys,
    journal: Journal,
    progress: Progress | None,
) -> tuple[_Records, dict[int, str]]:
    """Returns the record of the first clip of each path, and why the bad ones are bad."""
    clips = source.clips()
    records, reasons = journal.find(keys), dict[int, str]()
    missing: npt.NDArray[np.bool_] = ~np.any(keys, axis=1)
    interval = max(1, len(clips) // 200)
    for index in range(len(clips)):
        if clips.first_with_path[index] != index:
            records[index] = -1
        elif missing[index]:
            reasons[index] = MISSING
        elif records[index] < 0 or not journal.is_intact(int(records[index])):
            try:
                records[index] = _decode_clip(source, front_end, index, keys, journal)
            except BadAudioError as error:
                # all bad clips are reported together once the others are decoded
                records[index] = -1
                reasons[index] = "; ".join(reason for _, reason in error.clips)
        if progress and ((index + 1) % interval == 0 or index + 1 == len(clips)):
            progress(index + 1, len(clips))
    return records, reasons


def _decode_clip(
    source: AbstractSource, front_end: AbstractFrontEnd, index: int, keys: Keys, journal: Journal
) -> int:
    samples, sample_rate = source.read(index)
    with np.errstate(over="ignore"):  # values beyond float16 are rejected below
        frames = front_end(torch.from_numpy(samples), sample_rate).numpy().astype(np.float16)
    if not np.isfinite(frames).all():
        path, peak = source.clips().paths[index], np.abs(samples).max()
        raise BadAudioError((path, f"is too loud, with a peak of {peak:.2g}"))
    return journal.append(
        keys[index],
        source.content_digest(index),
        frames,
        silent=bool(np.ptp(samples) < _SILENCE),
    )


def _find_label_problems(clips: ClipTable) -> str:
    try:
        check_labels(clips)
    except ValueError as error:
        return str(error)
    return ""
