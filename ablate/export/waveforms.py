"""Converts arrays, tensors and lists of numbers to waveforms."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

MAX_CHANNELS = 32  # more rows than this are not channels
MAX_AMPLITUDE = 256.0  # floats have full scale 1; larger values are integers
_OFFSETS = {np.dtype(np.uint8): 128}  # the value of silence, if it is not 0

Sound = npt.NDArray[Any] | Tensor | Sequence[float]


SoundOrFile = Sound | str | Path


def list_sounds(sound: SoundOrFile | Sequence[SoundOrFile]) -> tuple[list[SoundOrFile], bool]:
    """Returns all sounds, and whether it was a list of them; a list of numbers is one sound."""
    if isinstance(sound, list | tuple) and not _is_numbers(sound):
        return list(sound), True
    return [cast(SoundOrFile, sound)], False


def to_waveform(sound: Sound) -> Tensor:
    """Converts a sound to a waveform, float32 (samples,) on the CPU, mixed to one channel.

    Args:
        sound: An array, tensor or list of numbers, (samples,) or (channels, samples). Floats have
            the full scale 1; integers are scaled by their type, so that int16 -32768 becomes -1.

    Raises:
        ValueError: For another shape, no samples, samples that are not finite, or a type without a
            scale.
    """
    array = _to_array(sound)
    if array.ndim == 2 and (len(array) > MAX_CHANNELS or len(array) > array.shape[1]):
        raise ValueError(
            f"a sound must be (samples,) or (channels, samples); got {array.shape}: transpose "
            "(samples, channels), and pass a batch of sounds to `clip_features`"
        )
    if array.ndim not in (1, 2):
        raise ValueError(f"a sound must be (samples,) or (channels, samples); got {array.shape}")
    samples = _scale(array)
    return torch.from_numpy(samples if samples.ndim == 1 else samples.mean(axis=0))


def to_batch(waveforms: Sound) -> Tensor:
    """Converts waveforms of one length to float32 (batch, samples) on the CPU.

    Raises:
        ValueError: As `to_waveform` does; the shape must be (batch, samples).
    """
    array = _to_array(waveforms)
    if array.ndim != 2:
        raise ValueError(
            f"waveforms must be (batch, samples); got {array.shape}: `features` takes one sound, "
            "with any number of channels"
        )
    return torch.from_numpy(_scale(array))


def check_sample_rate(sample_rate: float) -> int:
    """Returns a sample rate as a whole number of Hz. Raises `ValueError` for any other."""
    if not _is_numbers([sample_rate]) or not sample_rate >= 1 or sample_rate % 1:
        raise ValueError(f"`sample_rate` must be a whole number of Hz above 0; got {sample_rate!r}")
    return int(sample_rate)


def _is_numbers(sound: object) -> bool:
    kinds = (int, float, np.integer, np.floating)
    return isinstance(sound, list | tuple) and all(
        isinstance(item, kinds) and not isinstance(item, bool) for item in sound
    )


def _to_array(sound: Sound) -> npt.NDArray[Any]:
    if isinstance(sound, Tensor):
        sound = sound.detach().cpu()
        sound = sound.float() if sound.dtype == torch.bfloat16 else sound  # numpy has no bfloat16
        return sound.numpy()
    if _is_numbers(sound):
        return np.asarray(sound, dtype=np.float64)  # numbers of a list have the scale of floats
    array = np.ascontiguousarray(sound)  # torch takes no negative strides
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _scale(array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Scales samples to float32 with the full scale 1, and refuses samples that are not finite."""
    if array.size == 0:
        raise ValueError(f"a sound must have at least one sample; got {array.shape}")
    kind = array.dtype
    if kind in (np.int8, np.int16, np.int32, np.uint8):
        full_scale = 2.0 ** (8 * kind.itemsize - 1)
        return ((array.astype(np.float64) - _OFFSETS.get(kind, 0)) / full_scale).astype(np.float32)
    if not np.issubdtype(kind, np.floating):
        raise ValueError(
            f"samples must be floats, or integers of 8, 16 or 32 bits; got {kind}, which has no "
            "full scale: divide by it and pass floats in [-1, 1]"
        )
    samples = array.astype(np.float32)
    if not np.isfinite(samples).all():
        count = int((~np.isfinite(samples)).sum())
        raise ValueError(f"{count} of {samples.size} samples are NaN or infinite; remove them")
    if np.abs(samples).max() > MAX_AMPLITUDE:
        raise ValueError(
            f"samples reach {np.abs(samples).max():g}, but floats must lie in [-1, 1]; divide by "
            "the full scale (32768 for 16 bits)"
        )
    return samples
