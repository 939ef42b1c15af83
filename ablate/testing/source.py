"""Tests that a source of audio keeps the promises of its contract."""

import numpy as np

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.source import AbstractSource
from ablate.testing.cases import forbid_global_generators

SPLITS = ("", "train", "valid", "test")


def check_source(source: AbstractSource, *, max_clips: int = 20) -> None:
    """Tests a source against every promise of `AbstractSource`.

    Args:
        source: The source.
        max_clips: Most clips to read, evenly spread over the list.

    Raises:
        AssertionError: For the first broken promise.

    Example:
        >>> import ablate
        >>> from ablate.audio.synthetic import Synthetic
        >>> ablate.check_source(Synthetic(clips_per_class=1), max_clips=3)
    """
    with forbid_global_generators():
        clips, again = list(source.clips()), list(source.clips())
    assert clips, "no clips are listed"
    assert clips == again, "`clips` lists something else when called again"
    for clip in clips:
        assert clip.path, f"a clip has no path: {clip}"
        assert clip.task, f"`{clip.path}` has no task"
        assert bool(clip.split) != bool(clip.fold), (
            f"`{clip.path}` has split {clip.split!r} and fold {clip.fold!r}; set one of them"
        )
        assert clip.split in SPLITS, f"`{clip.path}` has split {clip.split!r}; use {SPLITS[1:]}"
    versions = source.list_version, source.list_version
    assert isinstance(versions[0], str), "`list_version` is not a string"
    assert versions[0], "`list_version` is empty"
    assert versions[0] == versions[1], "`list_version` changes while nothing else does"
    for skipped in source.skipped_clips:
        assert len(skipped) == 2, f"`skipped_clips` holds {skipped!r}, not (path, reason)"
    for name in source.non_audio_settings:
        assert hasattr(source, name), f"`non_audio_settings` names `{name}`, which does not exist"
    places = np.unique(np.linspace(0, len(clips) - 1, max_clips).astype(int)).tolist()
    readable = [place for place in places if _check_clip(source, place, clips[place].path)]
    assert readable, "none of the clips can be read"
    for place in reversed(readable):  # in another order
        _check_same_sound(source, place, clips[place].path)


def _check_clip(source: AbstractSource, place: int, path: str) -> bool:
    """Tests a clip; returns whether it can be read."""
    stamp = source.stamp(place)
    assert stamp is None or isinstance(stamp, str), f"the stamp of `{path}` is not text: {stamp!r}"
    try:
        with forbid_global_generators():
            samples, sample_rate = source.read(place)
    except BadAudioError:
        return False
    assert isinstance(samples, np.ndarray), f"`{path}` is read as {type(samples).__name__}"
    assert samples.dtype == np.float32, f"samples of `{path}` are {samples.dtype}, not float32"
    assert samples.ndim == 1, f"samples of `{path}` are {samples.shape}, not one channel"
    assert len(samples), f"`{path}` has no samples; raise `BadAudioError` for it"
    assert np.isfinite(samples).all(), f"a sample of `{path}` is not finite"
    rate = sample_rate if isinstance(sample_rate, int) else 0
    assert rate > 0, f"the sample rate of `{path}` is {sample_rate!r}, not a positive integer in Hz"
    digests = source.content_digest(place), source.content_digest(place)
    length = len(digests[0]) if isinstance(digests[0], str) else 0
    assert 0 < length <= 64, (
        f"`content_digest` of `{path}` is {digests[0]!r}, not a text of at most 64 characters"
    )
    assert digests[0] == digests[1], f"`content_digest` of `{path}` changes from call to call"
    return True


def _check_same_sound(source: AbstractSource, place: int, path: str) -> None:
    first, rate = source.read(place)
    kept = first.copy()
    if first.flags.writeable:
        first += 1.0
    second, again = source.read(place)
    same = np.array_equal(kept, second) and rate == again
    message = f"`{path}` is read differently each time; do not change or reuse what `read` returned"
    assert same, message
