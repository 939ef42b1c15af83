"""Notifies a command or a webhook that a study has ended."""

import json
import os
import shlex
import subprocess
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path

from rich.console import Console

from ablate.config.study import Study, StudyError
from ablate.core.environment import MissingVariableError, replace_references
from ablate.core.records.findings import FINDINGS_FILE, Findings
from ablate.executors.progress import print_line
from ablate.study.exit_codes import DONE, INTERRUPTED

VARIABLE = "ABLATE_NOTIFY"
SECONDS = 10.0  # to wait for a command or a server
URLS = ("https://", "http://")


@dataclass(frozen=True)
class StudyEnd:
    """The message: the body of a webhook, and the environment of a command."""

    text: str  # for people; the key that Slack, Mattermost and Discord's Slack endpoint show
    study: str
    exit_code: int
    report: str  # path of the page


def get_target(study: Study) -> str:
    """Returns the command or URL that is notified of the end of a study; empty for none.

    Raises:
        StudyError: if it names an environment variable, `${NAME}`, that is not set.
    """
    try:
        return replace_references(study.notify) or os.environ.get(VARIABLE, "")
    except MissingVariableError as error:
        raise StudyError([f"`notify` needs {error}"]) from error


def notify(target: str, study: str, exit_code: int, reports: Path, console: Console) -> None:
    """Posts to a URL, or runs a command with the text as its last argument.

    A target that cannot be reached is a warning, and changes nothing else.

    Args:
        target: `https://...`, or a command; empty for none.
        study: Name of the study.
        exit_code: How its run ended.
        reports: Folder of all reports.
        console: Where a warning is printed.
    """
    if not target:
        return
    end = _describe_end(study, exit_code, reports)
    try:
        if target.startswith(URLS):
            _post(target, end)
        else:
            _run(target, end)
    except (OSError, ValueError, HTTPException, subprocess.SubprocessError) as error:
        print_line(console, f"warning: the notification failed: {_describe_error(error)}")


def _describe_error(error: Exception) -> str:
    """Describes an error without the target, which may hold a secret."""
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        return str(error.reason)
    if isinstance(error, subprocess.CalledProcessError):
        return f"the command returned {error.returncode}"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return type(error).__name__


def _describe_end(study: str, exit_code: int, reports: Path) -> StudyEnd:
    word = {DONE: "done", INTERRUPTED: "interrupted"}.get(exit_code, "ended with failures")
    page = reports / study / "index.html"
    findings = None
    if exit_code == DONE:  # else the report may be an older one
        with suppress(ValueError):
            findings = Findings.find(page.with_name(FINDINGS_FILE))
    answer = "" if findings is None else f" {findings.answer[0]}"
    return StudyEnd(f"ablate: {study} is {word}.{answer}", study, exit_code, str(page))


def _post(url: str, end: StudyEnd) -> None:
    body = json.dumps(asdict(end)).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS):
        pass


def _run(command: str, end: StudyEnd) -> None:
    """Runs a command; raises `CalledProcessError` if it fails."""
    facts = {f"ABLATE_END_{name.upper()}": str(value) for name, value in asdict(end).items()}
    environment = {**os.environ, **facts}
    words = [*shlex.split(command), end.text]
    subprocess.run(words, env=environment, timeout=SECONDS, check=True)
