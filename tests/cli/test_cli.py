"""The verbs of the console script, run as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ablate.runs.store import write_config
from tests.run_folders import write_record, write_score

ROOT = Path(__file__).parents[2]
KNN = {"type": "KNN", "k": 10}
TALK = """\
import sys
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
        [sys.executable, "-c", TALK, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def front_door(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ablate.study", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_front_door_needs_a_file_and_nothing_else() -> None:
    done = front_door()
    assert (done.returncode, "Missing argument 'FILE'" in done.stderr) == (2, True)


def test_the_front_door_is_the_verb_run() -> None:
    def told(text: str) -> str:
        return text[text.index("Plan a study") :]

    verb = ablate("run", "--help", cwd=ROOT)
    assert told(front_door("--help").stdout) == told(verb.stdout)
    assert "--sweep-only" in verb.stdout


def test_the_front_door_ends_with_the_exit_code_of_the_verb(tmp_path: Path) -> None:
    (tmp_path / "wrong.yaml").write_text("study: wrong\n")
    done = front_door(str(tmp_path / "wrong.yaml"))
    assert (done.returncode, "`baseline` is missing" in done.stderr) == (2, True)
    assert front_door("a.yaml", "--workers", "0").returncode == 2


def test_where_nothing_has_been_run_status_says_how_to_begin(tmp_path: Path) -> None:
    done = ablate("status", cwd=tmp_path)
    assert done.stdout == "no study has been run here; to run one: ablate run FILE\n"
    assert done.returncode == 0


@pytest.fixture
def study_dir(tmp_path: Path) -> Path:
    """A study of two trials: one done, one failed."""
    trial = {"twin": "t", "statistics": "s", "levels": {"masker": "random"}}
    write(
        tmp_path / "reports" / "masking" / "plan.json",
        {
            "study": "masking",
            "probes": {"knn": KNN},
            "score": {"probe": "knn", "pooling": "mean"},
            "trials": [
                {**trial, "seed": 0, "fingerprint": "aaaa000000"},
                {**trial, "seed": 1, "fingerprint": "aabb000000"},
            ],
        },
    )
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
    "verb",
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
def test_a_light_verb_loads_nothing_heavy(study_dir: Path, verb: list[str]) -> None:
    done = ablate(*verb, cwd=study_dir)
    assert done.returncode == 0
    assert done.stderr.strip().endswith("heavy:")


def test_help_names_every_verb(study_dir: Path) -> None:
    text = ablate("--help", cwd=study_dir).stdout
    verbs = """run plan status logs cancel retry report compare why-different show clean doctor init
        manifest zoo dashboard tensorboard bench"""
    assert all(f" {verb} " in text for verb in verbs.split())


def test_status_lists_states_scores_and_reasons(study_dir: Path) -> None:
    lines = ablate("status", "masking", cwd=study_dir).stdout.splitlines()
    assert lines[0] == "masking: 1 done, 1 failed"
    assert lines[2].split() == ["aaaa000000", "random", "0", "done", "41.2"]
    assert lines[3].split(maxsplit=4)[3:] == ["failed", "nan: at step 7"]


def test_an_unknown_study_is_refused_with_a_suggestion(study_dir: Path) -> None:
    done = ablate("status", "maskin", cwd=study_dir)
    assert done.returncode == 2
    assert "no plan of a study `maskin` in reports (did you mean `masking`?)" in done.stderr


def test_logs_prints_the_last_attempt(study_dir: Path) -> None:
    assert ablate("logs", "aabb", cwd=study_dir).stdout == "attempt 002\nends\n"


def test_logs_prints_the_last_lines(study_dir: Path) -> None:
    assert ablate("logs", "aabb", "-n", "1", cwd=study_dir).stdout == "ends\n"


def test_a_run_without_a_log_is_said_to_have_none(study_dir: Path) -> None:
    done = ablate("logs", "aaaa", cwd=study_dir)
    assert (done.returncode, "has no log yet" in done.stderr) == (2, True)


def test_why_different_shows_the_settings_that_differ(study_dir: Path) -> None:
    lines = ablate("why-different", "aaaa", "aabb", cwd=study_dir).stdout.splitlines()
    assert lines[0] == "aaaa000000 -> aabb000000: 2 settings differ"
    assert sorted(lines[1:]) == ["  masker.ratio: 0.6 -> 0.8", "  seed: 0 -> 1"]


def test_a_beginning_that_many_runs_share_is_refused(study_dir: Path) -> None:
    done = ablate("why-different", "aa", "aabb", cwd=study_dir)
    assert done.returncode == 2
    assert "2 runs in runs begin with `aa`: aaaa000000, aabb000000; give more" in done.stderr
