"""A command or a webhook is notified that a study has ended."""

import http.server
import io
import json
import threading
from pathlib import Path

import pytest
from rich.console import Console

from ablate.executors.progress import create_console
from ablate.study import run as study
from ablate.study.notification import notify
from tests.study.conftest import read_output, run


def test_a_command_is_notified_of_the_end_of_a_study(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = workdir / "receiver"
    script.write_text('#!/bin/sh\necho "$ABLATE_END_EXIT_CODE $1" >> received\n')
    script.chmod(0o755)
    monkeypatch.setenv("ABLATE_NOTIFY", str(script))
    assert run() == study.DONE
    assert run("factors.masker.other={type: Fails}", "notify=/bin/false") == study.FAILED
    assert "warning: the notification failed" in read_output(capsys)
    # the answer is that of an older report
    notify(str(script), "masking", study.INTERRUPTED, Path("reports"), create_console())
    received = Path("received").read_text().splitlines()
    assert received == [
        f"0 ablate: masking is done. {_read_answer()}",
        f"{study.INTERRUPTED} ablate: masking is interrupted.",
    ]


def test_a_webhook_is_notified_of_the_end_of_a_study(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bodies = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HOOK", f"http://127.0.0.1:{server.server_port}/hook")
        run("notify=${HOOK}")
        server.shutdown()
    [body] = bodies
    assert body["exit_code"] == study.DONE
    assert body["report"] == "reports/masking/index.html"
    assert "masking is done" in body["text"]


@pytest.mark.parametrize(
    "target",
    ["http://127.0.0.1:9/S3cret", "http://127.0.0.1:9/S3cret part", "false S3cret", "/no/S3cret"],
)
def test_a_failed_notification_is_a_warning_that_does_not_repeat_the_target(
    tmp_path: Path, target: str
) -> None:
    written = io.StringIO()
    notify(target, "masking", study.DONE, tmp_path, Console(file=written))
    assert "warning: the notification failed" in written.getvalue()
    assert "S3cret" not in written.getvalue()


def test_a_target_whose_variable_is_not_set_is_an_error_before_work_starts(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("notify=${NO_SUCH_HOOK}") == study.WRONG
    assert "`notify` needs $NO_SUCH_HOOK, which is not set" in capsys.readouterr().err
    assert not list(Path().glob("runs/*"))


def _read_answer() -> str:
    answer: list[str] = json.loads(Path("reports/masking/findings.json").read_text())["answer"]
    return answer[0]
