"""Computes features of audio files by a trained encoder, for `ablate features`."""

import os

import torch

from ablate.core.records.messages import FeaturesReply, FeaturesRequest, ProgressMessage
from ablate.export.encoder import load_encoder
from ablate.parts import PartError, Problem
from ablate.worker.datasets import Emit


def write_features(request: FeaturesRequest, emit: Emit) -> FeaturesReply:
    """Writes the table of features.

    Raises `PartError` for a folder without an encoder or without audio, for a table that exists,
    and for files that cannot be decoded.
    """

    def report(done: int, total: int) -> None:
        emit(ProgressMessage(label="files", done=done, total=total))

    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)  # nothing else runs, and results are not hashed
    try:
        encoder = load_encoder(request.encoder).to(request.device)
        result = encoder.file_features(
            request.sounds,
            view=request.view,
            to=request.table,
            on_bad_audio="skip" if request.skip_bad_audio else "raise",
            on_progress=report,
        )
    except ValueError as error:
        problem = Problem((), str(error))
        raise PartError([problem]) from error
    finally:
        torch.set_num_threads(threads)
    num_files, dim = result.features.shape
    return FeaturesReply(files=num_files, dim=dim, bad_files=tuple(result.bad_files))
