"""Checks for `ablate doctor` what a node of the cluster offers: it runs in a job."""

import contextlib
import socket
import subprocess
import sys
from typing import TypeVar

from ablate.core.records.jobs import NodeReport
from ablate.core.records.messages import AttentionReply, AttentionRequest, ReadyMessage
from ablate.core.records.protocol import Message, parse_message
from ablate.core.records.record import FormatError

MessageT = TypeVar("MessageT", bound=Message)

START_SECONDS = 240.0  # longest start of a worker in `ablate doctor`, whose job has 5 minutes


def check_node(*, seconds: float = START_SECONDS) -> NodeReport:
    """Checks for `ablate doctor` whether a worker starts on this node within `seconds`."""
    command = [sys.executable, "-P", "-m", "ablate.worker", "--worker"]
    ready: ReadyMessage | None = None
    attention: AttentionReply | None = None
    request = AttentionRequest().to_line()
    try:
        process = subprocess.run(
            command, input=request, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        problem = f"it took longer than {seconds:g} s"
    else:
        ready = _find_message(process.stdout, ReadyMessage)
        attention = _find_message(process.stdout, AttentionReply)
        last_line = process.stderr.strip().splitlines()[-1:]
        problem = "; ".join(last_line) or f"exit code {process.returncode}"
    return NodeReport(
        host=socket.gethostname(),
        python=sys.executable,
        torch=None if ready is None else ready.torch,
        gpus=None if ready is None else ready.gpus,
        attention=() if attention is None else attention.lines,
        problem=None if ready else problem,
    )


def _find_message(output: str, kind: type[MessageT]) -> MessageT | None:
    for line in output.splitlines():
        with contextlib.suppress(FormatError):
            message = parse_message(line, (kind,))
            return message if isinstance(message, kind) else None
    return None
