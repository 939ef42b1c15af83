"""Tests that a source of audio keeps the promises of its contract."""

import numpy as np

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clips import ClipInfo
from ablate.audio.source import AbstractSource
from ablate.testing.cases import forbid_global_generators

SPLITS = ("", "train", "valid", "test")
LOUDEST = 100.0  # samples of decoded sound are about 1 at most, those of integers far above


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
    digests = {
        place: digest for place in places if (digest := _check_clip(source, place, clips[place]))
    }
    assert digests, "none of the clips can be read"
    sounds = {place: _check_same_sound(source, place, clips[place].path) for place in digests}
    _check_digests(sounds, digests)
    assert clips == list(source.clips()), "`clips` lists something else after clips were read"


def _check_digests(sounds: dict[int, bytes], digests: dict[int, str]) -> None:
    """Tests that clips of one digest sound the same, and that not all clips do."""
    by_digest: dict[str, bytes] = {}
    for place, digest in digests.items():
        same = by_digest.setdefault(digest, sounds[place]) == sounds[place]
        assert same, f"clips of different sound have one `content_digest`, {digest!r}"
    assert len(digests) == 1 or len(by_digest) > 1, (
        f"all {len(digests)} clips that were read sound the same; read the clip of `index`"
    )


def _check_clip(source: AbstractSource, place: int, clip: ClipInfo) -> str:
    """Tests a clip; returns its digest, or nothing if it cannot be read."""
    path, stamp = clip.path, source.stamp(place)
    assert stamp is None or isinstance(stamp, str), f"the stamp of `{path}` is not text: {stamp!r}"
    assert stamp == source.stamp(place), f"the stamp of `{path}` changes while the clip does not"
    try:
        with forbid_global_generators():
            samples, sample_rate = source.read(place)
    except BadAudioError:
        return ""
    assert isinstance(samples, np.ndarray), f"`{path}` is read as {type(samples).__name__}"
    assert samples.dtype == np.float32, f"samples of `{path}` are {samples.dtype}, not float32"
    assert samples.ndim == 1, f"samples of `{path}` are {samples.shape}, not one channel"
    assert len(samples), f"`{path}` has no samples; raise `BadAudioError` for it"
    assert np.isfinite(samples).all(), f"a sample of `{path}` is not finite"
    peak = float(np.abs(samples).max())
    assert peak < LOUDEST, f"`{path}` has samples of {peak:.0f}; scale integers to [-1, 1]"
    rate = sample_rate if isinstance(sample_rate, int) else 0
    assert rate > 0, f"the sample rate of `{path}` is {sample_rate!r}, not a positive integer in Hz"
    digests = source.content_digest(place), source.content_digest(place)
    length = len(digests[0]) if isinstance(digests[0], str) else 0
    assert 0 < length <= 64, (
        f"`content_digest` of `{path}` is {digests[0]!r}, not a text of at most 64 characters"
    )
    assert digests[0] == digests[1], f"`content_digest` of `{path}` changes from call to call"
    return digests[0]


def _check_same_sound(source: AbstractSource, place: int, path: str) -> bytes:
    """Reads a clip again, at once and in blocks; returns its samples."""
    first, rate = source.read(place)
    kept = first.copy()
    if first.flags.writeable:
        first += 1.0
    second, again = source.read(place)
    same = np.array_equal(kept, second) and rate == again
    message = f"`{path}` is read differently each time; do not change or reuse what `read` returned"
    assert same, message
    stream = source.stream(place)
    assert stream.sample_rate == rate, f"`stream` has another sample rate than `read` for `{path}`"
    assert np.array_equal(stream.read(), kept), (
        f"`stream` has other samples than `read` for `{path}`"
    )
    return kept.tobytes()
