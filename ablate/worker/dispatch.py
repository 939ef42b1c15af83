"""Serves the requests of a client: each by the module that does the work.

Modules are imported when their request comes: a plan needs neither matplotlib nor TensorBoard.
"""

from pathlib import Path

import torch

from ablate.core.device import limit_memory
from ablate.core.records.benchmarks import (
    LoaderTimingsRequest,
    MaskerTimingsRequest,
    PeerTimingsRequest,
    StepTimingsRequest,
)
from ablate.core.records.decoding_requests import DecodeRequest
from ablate.core.records.messages import (
    AttentionRequest,
    CheckRunsRequest,
    EmptyReply,
    ErrorReply,
    FeaturesRequest,
    GalleryRequest,
    MaskersRequest,
    RunReply,
    RunRequest,
    SchemaRequest,
    TensorBoardRequest,
    ZooRequest,
)
from ablate.core.records.planning import PlanRequest, SettingProblem
from ablate.core.records.protocol import Message, Reply
from ablate.training.signals import StopSignal
from ablate.worker.datasets import Emit


def handle_request(request: Message, cache: Path, emit: Emit, stop: StopSignal) -> Reply:
    """Does what a request asks for and returns the reply; `emit` is called with the progress.

    `cache` is the folder of decoded clips. Raises `PartError` for settings that cannot be built,
    `ValueError` for a message that is not a request.
    """
    match request:
        case PlanRequest():
            from ablate.worker.validation import validate

            return validate(request, cache, emit)
        case DecodeRequest():
            from ablate.worker.preparation import decode_audio

            return decode_audio(request, cache, emit)
        case RunRequest():
            return _run(request, cache, emit, stop)
        case GalleryRequest():
            return _draw_gallery(request, cache)
        case TensorBoardRequest():
            from ablate.training.recorder import write_tensorboard

            write_tensorboard(request.folder, request.entries)
            return EmptyReply()
        case _:
            return _handle_parts_request(request, emit)


def _draw_gallery(request: GalleryRequest, cache: Path) -> Reply:
    """Draws masks; a folder that cannot be written does not end the worker, or the study."""
    from ablate.worker.mask_gallery import draw_gallery

    try:
        return draw_gallery(request, cache)
    except OSError as error:
        return ErrorReply(problems=(SettingProblem(path=(), message=str(error)),))


def _handle_parts_request(request: Message, emit: Emit) -> Reply:
    match request:
        case AttentionRequest():
            from ablate.worker.attention_report import describe_attention

            return describe_attention(request)
        case CheckRunsRequest():
            from ablate.worker.store_check import check_runs

            return check_runs(request, emit)
        case MaskersRequest():
            from ablate.worker.masker_zoo import list_maskers

            return list_maskers(request.package)
        case SchemaRequest():
            from ablate.worker.part_schema import build_schemas

            return build_schemas(request.packages)
        case ZooRequest():
            from ablate.worker.masker_zoo import draw_zoo

            return draw_zoo(request, emit)
        case FeaturesRequest():
            from ablate.worker.file_features import write_features

            return write_features(request, emit)
        case MaskerTimingsRequest():
            from ablate.worker.benchmarks.maskers import time_maskers

            return time_maskers(request, emit)
        case LoaderTimingsRequest():
            from ablate.worker.benchmarks.loader import time_loader

            return time_loader(request)
        case StepTimingsRequest():
            from ablate.worker.benchmarks.steps import time_steps

            return time_steps(request, emit)
        case PeerTimingsRequest():
            from ablate.worker.benchmarks.peers import time_peers

            return time_peers(request, emit)
        case _:
            raise ValueError(f"{type(request).__name__} is not a request")


def _run(request: RunRequest, cache: Path, emit: Emit, stop: StopSignal) -> RunReply:
    from ablate.worker.context import RunContext
    from ablate.worker.multi_rank import needs_ranks, run_with_ranks
    from ablate.worker.run import run

    if needs_ranks(request):
        return run_with_ranks(request, cache, emit, stop)
    limit_memory(torch.device(request.device), request.memory_share)
    context = RunContext(torch.device(request.device), cache, emit, stop, until=request.until)
    return run(request.folder, request.probes, context, request.evaluate)
