"""Decodes clips for another process, as `python -m ablate.audio.decoding_process`.

It reads one `DecodeOrder` from standard input, and writes for each of its clips the frames and a
`ClipEnd` to standard output, in the order of the clips.
"""

import os
import sys
from typing import BinaryIO

import numpy as np
import torch

from ablate.audio.bad_audio import BadAudioError
from ablate.audio.clip_decoding import decode_clip
from ablate.audio.front_end import AbstractFrontEnd
from ablate.audio.source import AbstractSource
from ablate.core.records.decoding import ClipEnd, DecodeOrder, FramesHead
from ablate.core.records.protocol import parse_message
from ablate.parts import build


def serve(order: DecodeOrder, replies: BinaryIO) -> None:
    """Decodes the clips of an order. Raises `ValueError` if the source lists other clips."""
    source = build(order.source, expect=AbstractSource)
    front_end = build(order.front_end, expect=AbstractFrontEnd)
    paths = source.clips().paths
    for index, path in order.clips:
        if paths[index] != path:
            raise ValueError(f"clip {index} is `{paths[index]}`, not `{path}`")
        _send_clip(source, front_end, index, replies)
        replies.flush()


def _send_clip(
    source: AbstractSource, front_end: AbstractFrontEnd, index: int, replies: BinaryIO
) -> None:
    decoding = decode_clip(source, front_end, index)
    while True:
        try:
            frames = next(decoding)
        except StopIteration as stop:
            digest, flags = stop.value
            end = ClipEnd(digest=digest, flags=flags)
            break
        except BadAudioError as error:
            end = ClipEnd(reasons=tuple(reason for _, reason in error.clips))
            break
        replies.write(FramesHead(frames=len(frames)).to_line().encode())
        replies.write(np.ascontiguousarray(frames).tobytes())
    replies.write(end.to_line().encode())


def main() -> int:
    """Serves one order; returns the exit code."""
    torch.set_num_threads(1)
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not come between the frames
    order = parse_message(sys.stdin.readline(), (DecodeOrder,))
    assert isinstance(order, DecodeOrder)
    try:
        serve(order, replies)
        replies.close()
    except BrokenPipeError:  # the process that builds the store has ended
        os._exit(1)
    return 0
