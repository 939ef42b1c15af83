"""The worker's side of the protocol: JSON lines in, JSON lines out."""

import json
import subprocess
import sys
from dataclasses import replace

from ablate.core.records.plan import PlanReply, PlanRequest

PROBES = {"knn": {"type": "ablate.probing.knn.KNN", "k": 3}}


def talk(*requests):
    """Sends requests to a worker and returns what it answered, event by event."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    command = [sys.executable, "-m", "ablate.worker", "--worker"]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_worker_says_what_it_has_then_answers_each_request_once(settings, cache, tmp_path):
    request = PlanRequest(trials=(settings,), probes=PROBES)
    plan = {"do": "plan", "plan": request.to_json(), "cache": str(cache)}
    wrong_probes = {"knn": {"type": "ablate.probing.knn.KNN", "k": 0}}
    bad = {**plan, "plan": replace(request, probes=wrong_probes).to_json()}
    gallery = {
        "do": "gallery",
        "folder": str(tmp_path),
        "trials": [{"masker": "my block", "patchifier": "16/16", "settings": settings}],
        "cache": str(cache),
    }
    events = [event for event in talk(plan, bad, gallery) if event["event"] != "progress"]
    ready, planned, refused, drawn = events
    assert ready["event"] == "ready"
    assert PlanReply.from_json(planned["plan"], "the reply").all_problems == ()
    assert refused["event"] == "error"
    assert refused["problems"][0]["path"] == ["probes", "knn"]
    [picture] = drawn["pictures"]
    assert (tmp_path / picture["file"]).read_bytes().startswith(b"\x89PNG")
    assert picture["file"] == "my_block--16_16.png"
