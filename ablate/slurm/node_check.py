"""Checks inside a job whether a worker starts on its node, for `ablate doctor`."""

import contextlib
import socket
import subprocess
import sys

from ablate.core.records.jobs import NodeReport
from ablate.core.records.messages import ReadyMessage
from ablate.core.records.protocol import parse_message
from ablate.core.records.record import FormatError

START_SECONDS = 240.0  # longest start of a worker; the job of the check has 5 minutes


def check_node(*, seconds: float = START_SECONDS) -> NodeReport:
    """Checks for `ablate doctor` whether a worker starts on this node within `seconds`."""
    command = [sys.executable, "-P", "-m", "ablate.worker", "--worker"]
    ready: ReadyMessage | None = None
    try:
        process = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        problem = f"it took longer than {seconds:g} s"
    else:
        ready = _find_ready(process.stdout)
        last_line = process.stderr.strip().splitlines()[-1:]
        problem = "; ".join(last_line) or f"exit code {process.returncode}"
    return NodeReport(
        host=socket.gethostname(),
        python=sys.executable,
        torch=None if ready is None else ready.torch,
        gpus=None if ready is None else ready.gpus,
        problem=None if ready else problem,
    )


def _find_ready(output: str) -> ReadyMessage | None:
    for line in output.splitlines():
        with contextlib.suppress(FormatError):
            message = parse_message(line, (ReadyMessage,))
            return message if isinstance(message, ReadyMessage) else None
    return None
