"""The dashboards in a real browser, over the runs of a sweep and a grid."""

import os
import re
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api

from ablate.core.records.metrics_log import format_line
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN

ROOT = Path(__file__).parents[2]
ENTRY = "from ablate.cli.main import main; main()"
SECONDS = 120
STUDY = """\
# Is it displayed?
study: example
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
factors:
  masker:
    good: {type: Good}
    other: {type: Other, ratio: 0.4}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
"""
SWEEP = """\
sweep:
  per: masker
  trials: 3
  sampler: random
  space: {optimizer.rate: {low: 0.1, high: 10.0}}
"""


def create_png(width: int, height: int) -> bytes:
    """Returns a black picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress((b"\0" * (width + 1)) * height))
    return b"\x89PNG\r\n\x1a\n" + head + rows + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def studies_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the finished runs of a sweep and a grid."""
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE"):
            patch.delenv(name, raising=False)
        Path("grid.yaml").write_text(STUDY.replace("study: example", "study: grid"))
        Path("sweep.yaml").write_text(STUDY + SWEEP)
        for file in ("grid.yaml", "sweep.yaml"):
            assert study.run_study(Path(file), workers=1, command=STAND_IN) == study.DONE
        for file in Path("reports").glob("*/gallery/*.png"):
            file.write_bytes(create_png(120, 40))  # the stand-in draws none
        for run in Path("runs").glob("*/run.json"):
            lines = [format_line({"step": step, "loss": 1 / step}) for step in (1, 2, 3)]
            (run.parent / "metrics.jsonl").write_text("".join(lines))
        yield folder


@contextmanager
def serve(folder: Path, *arguments: str) -> Iterator[str]:
    """Starts `ablate` on a free port; yields the address that it prints."""
    names = ("ABLATE_RUNS", "ABLATE_REPORTS", "ABLATE_CACHE")
    environ = {name: value for name, value in os.environ.items() if name not in names}
    log_file = folder / f"{'-'.join(arguments)}.txt"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ENTRY, *arguments, "--port", "0"],
            cwd=folder,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            match = re.search(r"http://[\d.:]+", log_file.read_text())
            if match:
                break
            time.sleep(0.1)
        else:
            pytest.fail(log_file.read_text())
        yield match.group()
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def sweep_address(studies_dir: Path) -> Iterator[str]:
    """The address of the dashboard of the sweep."""
    with serve(studies_dir, "dashboard", "sweep.yaml") as address:
        yield address


@pytest.fixture(scope="module")
def page(browser: Any) -> Any:
    """A page of a headless Chromium."""
    page = browser.new_page(viewport={"width": 1400, "height": 1600})
    page.set_default_timeout(1000 * SECONDS)
    return page


def get_study_id(page: Any, address: str, name: str) -> int:
    summaries = page.request.get(f"{address}/api/studies").json()["study_summaries"]
    return next(each["study_id"] for each in summaries if each["study_name"] == name)


def test_a_browser_shows_the_trials_of_a_grid(studies_dir: Path, page: Any) -> None:
    with serve(studies_dir, "dashboard", "grid.yaml") as address:
        check_trials_note_figure_and_masks(page, address, "grid")


def test_a_browser_shows_the_trials_that_follow_a_sweep(page: Any, sweep_address: str) -> None:
    check_trials_note_figure_and_masks(page, sweep_address, "example")


def check_trials_note_figure_and_masks(page: Any, address: str, name: str) -> None:
    page.goto(f"{address}/dashboard")
    page.get_by_text(f". {name}", exact=False).first.wait_for()
    url = f"{address}/dashboard/studies/{get_study_id(page, address, name)}"
    page.goto(url)
    page.get_by_text("Differences and their intervals").wait_for()
    picture = page.locator("img[src*='/artifacts/']").first
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 120
    page.goto(f"{url}/note")
    page.get_by_text("Is it displayed?").first.wait_for()
    page.goto(f"{url}/trials")
    page.get_by_text("4 Trials").wait_for()
    page.get_by_text("Against the baseline").first.wait_for()


def test_a_browser_shows_the_points_of_a_sweep(page: Any, sweep_address: str) -> None:
    summaries = page.request.get(f"{sweep_address}/api/studies").json()["study_summaries"]
    [sweep] = [s["study_id"] for s in summaries if s["study_name"].startswith("example: good")]
    page.goto(f"{sweep_address}/dashboard/studies/{sweep}/trials")
    page.get_by_text("3 Trials").wait_for()
    page.get_by_text("optimizer.rate").first.wait_for()
    page.goto(f"{sweep_address}/dashboard/studies/{sweep}")
    page.locator("img[src*='/artifacts/']").first.wait_for()


def test_tensorboard_shows_the_means_under_readable_names(studies_dir: Path, page: Any) -> None:
    with serve(studies_dir, "tensorboard", "grid.yaml") as address:
        deadline = time.monotonic() + SECONDS
        while read_runs(page, address) is None and time.monotonic() < deadline:
            time.sleep(0.2)
        page.goto(f"{address}/#timeseries")
        page.get_by_text("good, mean").first.wait_for()
        page.get_by_text("train/loss").first.wait_for()
        tags = page.request.get(f"{address}/data/plugin/scalars/tags").json()
        assert "train/loss" in tags["other, mean"]
        assert "score" in tags["good, seed 0"]


def read_runs(page: Any, address: str) -> object:
    """Returns the runs in TensorBoard; None while it is not ready."""
    try:
        return page.request.get(f"{address}/data/runs").json() or None
    except sync_api.Error:
        return None


def test_a_port_in_use_is_reported_with_the_remedy(studies_dir: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as used:
        port = used.getsockname()[1]
        done = run_ablate(studies_dir, "dashboard", "grid.yaml", "--port", str(port))
    assert done.returncode == 2
    assert f"port {port} cannot be used" in done.stderr
    assert "--port 0" in done.stderr


def test_a_folder_that_cannot_be_written_is_not_reported_as_a_port_problem(tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(STUDY.replace("study: example", "study: new"))
    reports = tmp_path / "reports" / "new"
    reports.mkdir(parents=True)
    (reports / "optuna.journal").touch()
    (reports / "artifacts").touch()  # a file where a folder is expected
    done = run_ablate(tmp_path, "dashboard", "new.yaml", "--port", "0")
    assert done.returncode == 1
    assert "reports/new/artifacts" in done.stderr
    assert "port" not in done.stderr.replace("reports", "")
    assert "Traceback" not in done.stderr


def test_a_study_that_was_never_run_is_reported(studies_dir: Path) -> None:
    (studies_dir / "new.yaml").write_text(STUDY.replace("study: example", "study: new"))
    done = run_ablate(studies_dir, "dashboard", "new.yaml")
    assert done.returncode == 2
    assert "if it does not run now: ablate run new.yaml" in done.stderr


def run_ablate(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", ENTRY, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
