"""Builds a clip store: decodes each file once and collects those that cannot be used."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clip_decoder import ClipDecoder
from ablate.audio.clips import ClipTable, compute_digest
from ablate.audio.column_file import StringColumn
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.labels import check_labels
from ablate.audio.selection import (
    Selection,
    describe_divided_files,
    describe_duplicates,
    drop_duplicates,
    drop_rare_classes,
    find_divided_files,
    find_duplicates,
)
from ablate.audio.source import AbstractSource
from ablate.audio.store_index import StoreIndex
from ablate.audio.store_journal import ClipFlag, Journal, Keys
from ablate.audio.store_parts import DecodedParts

Progress = Callable[[int, int], None]  # number of clips done, number of all clips
_Records = npt.NDArray[np.int64]  # (clips,), row in the journal; -1 for a clip without one
_DESCRIBED = 5  # missing files that are looked for under similar names
_SILENT = "is silent"


def build_index(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    keys: Keys,
    journal: Journal,
    progress: Progress | None,
    num_processes: int | None = None,
) -> StoreIndex:
    """Decodes every clip that is not in the journal and returns the index of the usable ones.

    `num_processes` as in `ClipDecoder`.

    Raises:
        BadAudioError: for all bad clips, unless the source skips them.
    """
    clips = source.clips()
    records, reasons = _decode_missing(source, front_end, keys, journal, progress, num_processes)
    if reasons and not source.skips_bad_audio:
        raise BadAudioError(*((clips.paths[index], why) for index, why in reasons.items()))
    if source.skips_silence:
        decoded = np.flatnonzero(records >= 0)
        silent = decoded[journal.records["flags"][records[decoded]] & ClipFlag.SILENT > 0]
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
    clips, rows = source.clips(), journal.records
    bad = np.flatnonzero(records < 0)
    skipped = [*source.skipped_clips]
    skipped += [(clips.paths[int(i)], reasons[int(clips.first_with_path[i])]) for i in bad]
    decoded = np.flatnonzero(records >= 0)
    selection = _select(source, clips.take(decoded), rows["digest"][records[decoded]])
    skipped += selection.skipped
    table, places = selection.clips, records[decoded[selection.kept]]
    first, lengths = rows["first"][places], rows["frames"][places]
    return StoreIndex(
        clips=table,
        first=first,
        lengths=lengths,
        flags=rows["flags"][places],
        digest=compute_digest(table, lambda index: bytes(rows["digest"][places[index]]).decode()),
        skipped=(
            StringColumn.from_texts(path for path, _ in skipped),
            StringColumn.from_texts(why for _, why in skipped),
        ),
        keys=keys,
        list_version=source.list_version,
        label_problems=_find_label_problems(table),
        notes=selection.notes,
        end=int((first + lengths).max(initial=0)),
    )


def _select(source: AbstractSource, clips: ClipTable, digests: npt.NDArray[np.bytes_]) -> Selection:
    """Applies what the source says about duplicates and rare classes.

    Raises:
        ValueError: for duplicates that the source refuses.
    """
    kept, notes = np.arange(len(clips)), list[str]()
    skipped: list[tuple[str, str]] = []
    if groups := find_duplicates(clips, digests):
        description = describe_duplicates(clips, groups)
        if source.duplicate_policy == "refuse":
            raise ValueError(f"{description}; remove them, or set `duplicates: drop`")
        if source.duplicate_policy == "drop":
            without = drop_duplicates(clips, groups)
            notes.append(f"{description}; {len(without.skipped)} of them were dropped")
            clips, kept = without.clips, without.kept
            skipped += without.skipped
        else:
            notes.append(f"{description}; scores on them are too high: set `duplicates: drop`")
    if files := find_divided_files(clips):
        notes.append(describe_divided_files(files))
    if source.rare_class_policy == "drop":
        without = drop_rare_classes(clips)
        clips, kept = without.clips, kept[without.kept]
        skipped += without.skipped
        notes += without.notes
    return Selection(clips, kept, tuple(skipped), tuple(notes))


def _decode_missing(
    source: AbstractSource,
    front_end: AbstractFrontEnd,
    keys: Keys,
    journal: Journal,
    progress: Progress | None,
    num_processes: int | None,
) -> tuple[_Records, dict[int, str]]:
    """Returns the record of the first clip of each path, and why the bad ones are bad."""
    clips = source.clips()
    records, reasons = journal.find(keys), dict[int, str]()
    missing: npt.NDArray[np.bool_] = ~np.any(keys, axis=1)
    is_first = clips.first_with_path == np.arange(len(clips))
    records[~is_first] = -1
    is_needed = _find_needed(records, is_first & ~missing, journal)
    parts = DecodedParts(journal.folder, front_end.bands, keys)
    needed = np.flatnonzero(is_needed & ~parts.has).tolist()
    interval = max(1, len(clips) // 200)
    with ClipDecoder(source, front_end, needed, num_processes) as decoder:
        for index in range(len(clips)):
            if is_first[index] and missing[index]:
                reasons[index] = (
                    source.describe_missing(index) if len(reasons) < _DESCRIBED else "no such file"
                )
            elif is_needed[index]:
                try:
                    record = parts.copy(index, keys[index], journal)
                    if record is None:
                        record = decoder.decode(index, keys[index], journal)
                    records[index] = record
                except BadAudioError as error:
                    # all bad clips are reported together once the others are decoded
                    records[index] = -1
                    reasons[index] = "; ".join(reason for _, reason in error.clips)
            if progress and ((index + 1) % interval == 0 or index + 1 == len(clips)):
                progress(index + 1, len(clips))
    parts.delete_copied(journal)
    return records, reasons


def _find_needed(
    records: _Records, exists: npt.NDArray[np.bool_], journal: Journal
) -> npt.NDArray[np.bool_]:
    """Returns which of the existing clips have no intact record, (clips,)."""
    needed: npt.NDArray[np.bool_] = exists.copy()
    for index in np.flatnonzero(exists & (records >= 0)).tolist():
        needed[index] = not journal.is_intact(int(records[index]))
    return needed


def _find_label_problems(clips: ClipTable) -> str:
    try:
        check_labels(clips)
    except ValueError as error:
        return str(error)
    return ""
