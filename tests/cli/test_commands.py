"""The commands of `ablate`, run as subprocesses."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablate import __version__
from ablate.runs.store import write_config
from tests.command import ABLATE
from tests.plans import make_entry, make_plan
from tests.run_folders import write_record, write_score

ROOT = Path(__file__).parents[2]
KNN = {"type": "KNN", "k": 10}
SCRIPT = """\
import sys
from ablate import __version__
from ablate.runs.store import write_config
from tests.run_folders import write_record, write_score
from ablate.cli.main import main
try:
    main()
finally:
    heavy = {"torch", "pandas", "matplotlib", "numpy", "scipy"} & set(sys.modules)
    print("heavy:", *sorted(heavy), file=sys.stderr)
"""


def ablate(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def run_study_module(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ablate.study", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_study_module_needs_a_file_and_nothing_else() -> None:
    done = run_study_module()
    assert (done.returncode, "Missing argument 'FILE'" in done.stderr) == (2, True)


def test_the_study_module_is_the_command_run() -> None:
    def get_body(text: str) -> str:
        return text[text.index("Plan a study") :]

    command = ablate("run", "--help", cwd=ROOT)
    assert get_body(run_study_module("--help").stdout) == get_body(command.stdout)
    assert "--sweep-only" in command.stdout


def test_the_study_module_returns_the_exit_code_of_run(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("study: wrong\n")
    done = run_study_module(str(tmp_path / "wrong.yaml"))
    assert (done.returncode, "`baseline` is missing" in done.stderr) == (2, True)
    assert run_study_module("a.yaml", "--workers", "0").returncode == 2


def test_status_without_studies_explains_how_to_start(tmp_path: Path) -> None:
    done = ablate("status", cwd=tmp_path)
    assert done.stdout == "no study has been run here; to run one: ablate run FILE\n"
    assert done.returncode == 0


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    """Creates the folders of a study of two trials: one done, one failed."""
    first = make_entry("aaaa000000", levels={"masker": "random"}, seed=0)
    second = make_entry("aabb000000", levels={"masker": "random"}, seed=1)
    plan = make_plan(first, second, probes={"knn": KNN})
    plan.write(plan.file_in(tmp_path / "reports"))
    good, bad = tmp_path / "runs" / "aaaa000000", tmp_path / "runs" / "aabb000000"
    masker = {"type": "maskers.Random", "ratio": 0.6}
    write_config(good, kind="jepa", settings={"seed": 0, "masker": masker})
    write_record(good, "done")
    write_score(good, "speech", KNN, mean={"valid": 41.25, "test": 1})
    masker = {"type": "maskers.Random", "ratio": 0.8}
    write_config(bad, kind="jepa", settings={"seed": 1, "masker": masker})
    write_record(bad, "failed", "nan: at step 7")
    for attempt in ("001", "002"):
        log = bad / "attempts" / attempt / "log.txt"
        log.parent.mkdir(parents=True)
        log.write_text(f"attempt {attempt}\nends\n")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["status"],
        ["status", "--json"],
        ["logs", "aabb"],
        ["show", "aabb"],
        ["cancel", "masking"],
        ["retry", "masking", "oom"],
        ["clean", "--yes"],
        ["why-different", "aaaa", "aabb"],
    ],
    ids=str,
)
def test_light_commands_import_no_heavy_library(study_dir: Path, command: list[str]) -> None:
    done = ablate(*command, cwd=study_dir)
    assert done.returncode == 0
    assert done.stderr.strip().endswith("heavy:")


def test_help_lists_every_command(study_dir: Path) -> None:
    text = ablate("--help", cwd=study_dir).stdout
    commands = """run plan status logs cancel retry report followup compare why-different show clean
        doctor init manifest zoo dashboard tensorboard bench"""
    assert all(f" {command} " in text for command in commands.split())


def test_status_lists_states_scores_and_reasons(study_dir: Path) -> None:
    lines = ablate("status", "masking", cwd=study_dir).stdout.splitlines()
    assert lines[0] == "masking: 1 done, 1 failed"
    assert lines[2].split() == ["aaaa000000", "random", "0", "done", "41.2"]
    assert lines[3].split(maxsplit=4)[3:] == ["failed", "nan: at step 7"]


def test_an_unknown_study_is_an_error_with_a_suggestion(study_dir: Path) -> None:
    done = ablate("status", "maskin", cwd=study_dir)
    assert done.returncode == 2
    assert "no plan of a study `maskin` in reports (did you mean `masking`?)" in done.stderr


def test_logs_prints_the_last_attempt(study_dir: Path) -> None:
    assert ablate("logs", "aabb", cwd=study_dir).stdout == "attempt 002\nends\n"


def test_logs_prints_the_last_lines(study_dir: Path) -> None:
    assert ablate("logs", "aabb", "-n", "1", cwd=study_dir).stdout == "ends\n"


def test_logs_of_a_run_without_a_log_is_an_error(study_dir: Path) -> None:
    done = ablate("logs", "aaaa", cwd=study_dir)
    assert (done.returncode, "has no log yet" in done.stderr) == (2, True)


def test_why_different_shows_the_settings_that_differ(study_dir: Path) -> None:
    lines = ablate("why-different", "aaaa", "aabb", cwd=study_dir).stdout.splitlines()
    assert lines[0] == "aaaa000000 -> aabb000000: 2 settings differ"
    assert sorted(lines[1:]) == ["  masker.ratio: 0.6 -> 0.8", "  seed: 0 -> 1"]


def test_an_ambiguous_prefix_of_a_fingerprint_is_an_error(study_dir: Path) -> None:
    done = ablate("why-different", "aa", "aabb", cwd=study_dir)
    assert done.returncode == 2
    assert "2 runs in runs begin with `aa`: aaaa000000, aabb000000; give more" in done.stderr


@pytest.mark.parametrize("module", ["ablate", "ablate.study", "ablate.worker"])
def test_a_module_prints_its_help(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, "--help" in done.stdout) == (0, True)


def test_version_prints_the_version(tmp_path: Path) -> None:
    assert ablate("--version", cwd=tmp_path).stdout == f"ablate {__version__}\n"


@pytest.mark.parametrize(
    ("words", "completions"),
    [("ablate sta", {"status"}), ("ablate init --fr", {"--from"}), ("ablate bench s", {"steps"})],
)
def test_a_shell_completes_commands_and_options(words: str, completions: set[str]) -> None:
    done = subprocess.run(
        ABLATE,
        env={
            **os.environ,
            "_ABLATE_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(words.count(" ")),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.split()) == completions
