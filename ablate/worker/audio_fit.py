"""Checks whether clips fit what a trial does with them: window, bands and splits.

A crop that is far longer than the clips is mostly padding, bands above the sound's bandwidth hold
no sound, and a handful of test clips or a single speaker cannot tell two encoders apart. A study
runs all the same; the notes of this module say so in its plan and report.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ablate.audio.mel import KaldiFbank, LogMel
from ablate.audio.preparation import Prepared
from ablate.probing.tasks import Task
from ablate.worker.audio_data import AudioData
from ablate.worker.trial import Trial

MAX_PADDING = 0.1  # share of a crop that is worth a note
MIN_TEST_CLIPS = 50
GROUP_COLUMNS = ("group", "speaker", "speaker_id", "artist", "recording")
_QUANTILES = 64  # clip lengths that stand for all
_FITTING = 0.95  # share of the clips that are not longer than a suggested crop
_CLIPS, _FRAMES = 100, 1000  # clips, and frames of each, that bands are measured on
_FALL = 6.0  # log-energy, in nepers, by which empty bands lie below those before them
_HALF_RATES = (4000, 5512, 6000, 8000, 11025, 12000, 16000)


def count_valid_columns(audio: AudioData, trial: Trial) -> tuple[int, ...]:
    """Returns how many columns of the grid are not padding, for lengths that stand for all clips.

    Clips that are too short to train on do not count. Empty if no clip is shorter than a crop.
    """
    lengths = _get_lengths(audio, trial)
    if len(lengths) == 0 or lengths.min() >= trial.crop_frames:
        return ()
    places = ((np.arange(_QUANTILES) + 0.5) / _QUANTILES * len(lengths)).astype(np.int64)
    frames = np.sort(lengths)[places]
    valid = trial.patchifier.valid(
        _mark_frames(np.unique(frames), trial.crop_frames), trial.mel.bands
    )
    columns = valid.view(len(valid), -1, trial.grid.time).any(dim=1).sum(dim=1).numpy()
    counts = columns[np.searchsorted(np.unique(frames), frames)]
    if (counts == trial.grid.time).all():
        return ()
    return tuple(int(count) for count in counts)


def list_trial_notes(audio: AudioData, trial: Trial) -> tuple[str, ...]:
    """Returns notes about clips that do not fit the window or the bands of a trial."""
    return (
        *_note_padding(audio, trial),
        *_note_short_clips(audio, trial),
        *_note_bands(audio, trial),
    )


def list_task_notes(audio: AudioData) -> tuple[str, ...]:
    """Returns notes about tasks with few clips, or a single group of clips, to test on."""
    notes = [note for task in audio.tasks for note in _note_task(audio, task)]
    return (*_note_files(audio), *notes)


def _note_files(audio: AudioData) -> Iterator[str]:
    """Notes that files are in several rows, as those are that belong to several tasks."""
    paths = audio.store.clips.paths
    if len(audio.tasks) < 2 or (files := len(set(paths))) == len(paths):
        return
    yield (
        f"the {len(paths)} clips are rows of {files} files: a file is trained on, and counted, "
        "once per row"
    )


def _note_padding(audio: AudioData, trial: Trial) -> Iterator[str]:
    lengths = _get_lengths(audio, trial)
    padding = 1 - float(lengths.mean()) / trial.crop_frames if len(lengths) else 0.0
    if padding <= MAX_PADDING:
        return
    hop = trial.mel.hop_seconds
    size, stride = trial.patchifier.size[1], trial.patchifier.stride[1]
    needed = max(float(np.quantile(lengths, _FITTING)), size + stride)
    suggested = size + stride * int(np.ceil((needed - size) / stride))
    remedy = ""
    if suggested < trial.crop_frames:
        share = np.minimum(lengths, suggested).mean() / suggested
        remedy = f"; with `crop_frames: {suggested}` it would be {1 - share:.0%}"
    yield (
        f"{padding:.0%} of a crop of {hop * trial.crop_frames:.3g} s is padding: clips last "
        f"{_format_lengths(hop * audio.store.lengths[_get_used(audio, trial)])}{remedy}"
    )


def _format_lengths(seconds: npt.NDArray[np.floating]) -> str:
    """Formats lengths of clips: `0.15 to 2.00 s, 0.48 s in the median`, or `1.00 s`."""
    low, middle, high = (
        f"{length:.2f}" if length < 10 else f"{length:.3g}"
        for length in np.quantile(seconds, (0, 0.5, 1))
    )
    return f"{low} s" if low == high else f"{low} to {high} s, {middle} s in the median"


def _note_short_clips(audio: AudioData, trial: Trial) -> Iterator[str]:
    short = audio.find_too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
    if len(short):
        paths = ", ".join(f"`{audio.store.clips.paths[int(index)]}`" for index in short[:3])
        more = ", ..." if len(short) > 3 else ""
        yield (
            f"{len(short)} of {len(audio.train)} pre-training clips are shorter than two patches "
            f"and are not trained on: {paths}{more}"
        )


def _note_bands(audio: AudioData, trial: Trial) -> Iterator[str]:
    front_end = trial.mel
    while isinstance(front_end, Prepared):
        front_end = front_end.front_end
    if not isinstance(front_end, LogMel | KaldiFbank) or not len(audio.train):
        return
    top_bands = _find_empty_bands(_sample_frames(audio).mean(axis=0))
    if top_bands is not None:
        edge, empty = top_bands
        f_max = _compute_edge(front_end, edge)
        yield (
            f"the upper {empty} of {front_end.bands} bands hold almost no sound, but are predicted "
            f"like the others: the clips have no frequencies above about {f_max} Hz; set "
            f"`mel.f_max: {f_max}`"
        )


def _find_empty_bands(level: npt.NDArray[np.float32]) -> tuple[int, int] | None:
    """Finds the place above which bands hold almost no sound, from their mean levels, (bands,).

    Sound that was recorded or encoded at a lower rate falls steeply there; the level of other
    sound falls slowly.

    Returns:
        The last band before the fall, and the number of bands after it; None if there is none.
    """
    width = max(2, len(level) // 6)
    for band in range(2, len(level)):
        before = level[max(0, band - width) : band]
        if level[band:].max() <= before.max() - _FALL:
            start = band - len(before) + int(np.argmax(before))
            edge = start + int(np.argmax(level[start:] < before.max() - _FALL / 2))
            return edge, len(level) - band
    return None


def _sample_frames(audio: AudioData) -> npt.NDArray[np.float32]:
    """Returns frames of clips that are spread over the pre-training clips, (frames, bands)."""
    chosen = audio.train[np.linspace(0, len(audio.train) - 1, _CLIPS).round().astype(np.int64)]
    pieces = [audio.store.read_frames(int(index), 0, _FRAMES) for index in np.unique(chosen)]
    return np.concatenate(pieces).astype(np.float32)


def _compute_edge(front_end: LogMel | KaldiFbank, band: int) -> int:
    """Returns the centre of a band in Hz, or half of a common sample rate just below it."""
    low, high = np.log1p(front_end.f_min / 700), np.log1p(front_end.f_max / 700)  # mel scale
    edge = 700 * np.expm1(low + (high - low) * (band + 1) / (front_end.bands + 1))
    common = [half for half in _HALF_RATES if half <= edge <= 1.25 * half]
    return max(common) if common else round(float(edge) / 100) * 100


def _note_task(audio: AudioData, task: Task) -> Iterator[str]:
    clips, name = audio.store.clips, task.name
    is_task = clips.tasks.equals(name)
    has_folds = bool((~clips.folds.equals("") & is_task).any())
    is_test = is_task if has_folds else is_task & clips.splits.equals("test")
    number = int(is_test.sum())
    if number < MIN_TEST_CLIPS and task.kind != "numbers":
        yield (
            f"task `{name}` has {number} test clips: one clip more or less right is a difference "
            f"of {100 / max(1, number):.1f} points"
        )
    column = next((column for column in GROUP_COLUMNS if column in clips.extra), None)
    if column is None or has_folds:
        return
    groups = clips.extra[column]
    tested = {groups[int(index)] for index in np.flatnonzero(is_test)}
    others = {groups[int(index)] for index in np.flatnonzero(is_task & ~is_test)}
    if len(tested) == 1 and len(others) > 1:
        yield f"all test clips of task `{name}` are of one {column}, `{tested.pop()}`"
    if shared := tested & others - {""}:
        yield (
            f"{len(shared)} values of `{column}` are among the test clips and the others of task "
            f"`{name}`, such as `{min(shared)}`"
        )


def _get_lengths(audio: AudioData, trial: Trial) -> npt.NDArray[np.int64]:
    """Returns the frames that a crop of each clip to train on has, (clips,)."""
    return np.minimum(audio.store.lengths[_get_used(audio, trial)], trial.crop_frames)


def _get_used(audio: AudioData, trial: Trial) -> npt.NDArray[np.int64]:
    """Returns the positions of the clips to train on, (clips,)."""
    short = audio.find_too_short(trial.patchifier, trial.crop_frames, trial.mel.bands)
    return np.setdiff1d(audio.train, short)


def _mark_frames(lengths: npt.NDArray[np.int64], crop_frames: int) -> Tensor:
    return torch.from_numpy(np.arange(crop_frames) < lengths[:, None])
