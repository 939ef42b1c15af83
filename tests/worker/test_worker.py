"""A worker process answers requests, as lines of JSON."""

import subprocess
import sys
from dataclasses import replace

from ablate.core.records.messages import (
    ANSWERS,
    ErrorReply,
    GalleryReply,
    GalleryRequest,
    GalleryTrial,
    ProgressMessage,
    ReadyMessage,
)
from ablate.core.records.planning import PlanReply, PlanRequest
from ablate.core.records.protocol import parse_message

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


def send(cache, *requests):
    """Sends requests to a worker and returns its messages."""
    lines = "".join(request.to_line() for request in requests)
    command = [sys.executable, "-m", "ablate.worker", "--worker", "--cache", str(cache)]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return [parse_message(line, ANSWERS) for line in done.stdout.splitlines()]


def test_a_worker_reports_its_machine_then_replies_to_each_request(settings, cache, tmp_path):
    plan = PlanRequest(trials=(settings,), probes=PROBES)
    bad = replace(plan, probes={"knn": {"type": "ablate.probing.knn.KNN", "k": 0}})
    trial = GalleryTrial(masker="my block", patchifier="16/16", settings=settings)
    gallery = GalleryRequest(folder=tmp_path, trials=(trial,))
    messages = send(cache, plan, bad, gallery)
    ready, planned, error, drawn = [m for m in messages if not isinstance(m, ProgressMessage)]
    kinds = [type(message) for message in (ready, planned, error, drawn)]
    assert kinds == [ReadyMessage, PlanReply, ErrorReply, GalleryReply]
    assert planned.all_problems == ()
    assert list(error.problems[0].path) == ["probes", "knn"]
    [picture] = drawn.pictures
    assert (tmp_path / picture.file).read_bytes().startswith(b"\x89PNG")
    assert picture.file == "my_block--16_16.png"
