"""Decodes one clip: its frames, then what identifies and describes it."""

from collections.abc import Generator, Iterator
from typing import NamedTuple

import numpy as np

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.conversion import compute_frames
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.source import AbstractSource
from ablate.audio.store_journal import ClipFlag, Frames
from ablate.audio.streaming import ObservedStream

_CORRECTED = "+length"  # in digests of files whose header has a wrong length
_SILENCE = 2e-4  # peak to peak: -80 dB, a few steps of 16 bits


class ClipFacts(NamedTuple):
    """What is known about a clip once it is decoded."""

    digest: str  # identifies its content
    flags: int  # see `ClipFlag`


Decoding = Generator[Frames, None, ClipFacts]  # yields frames, returns the facts


def decode_clip(source: AbstractSource, front_end: AbstractFrontEnd, index: int) -> Decoding:
    """Yields the frames of a clip, in one or more blocks, and returns its facts.

    Raises:
        BadAudioError: the clip cannot be used.
    """
    stream = ObservedStream(source.stream(index))
    yield from _convert(front_end, stream, source.clips().paths[index])
    digest = source.content_digest(index)
    if stream.is_corrected:  # earlier versions read another length: their results do not apply
        digest += _CORRECTED
    flags = ClipFlag.SILENT * (stream.peak_to_peak < _SILENCE)
    flags |= ClipFlag.CANCELLED * stream.is_cancelled
    return ClipFacts(digest, int(flags))


def _convert(front_end: AbstractFrontEnd, stream: ObservedStream, path: str) -> Iterator[Frames]:
    for frames in compute_frames(front_end, stream):
        if not np.isfinite(frames).all():
            raise BadAudioError((path, f"is too loud, with a peak of {stream.peak:.2g}"))
        yield frames
