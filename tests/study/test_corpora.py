"""The clips of a study are decoded ahead of time, here or in jobs of a scripted cluster."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ablate.core.records.jobs import CommandJob
from ablate.slurm.options import SlurmOptions
from ablate.study import corpora
from ablate.study import run as study
from ablate.study.corpora import prepare_corpora
from ablate.study.job import run_job
from tests.executors.stand_in import STAND_IN
from tests.slurm.fake_slurm import write_commands
from tests.study.conftest import read_output

# each submission is numbered, and stays in the queue until there is a file `ended`
SCRIPTS = {
    "scontrol": "echo MaxArraySize = 100",
    "sbatch": """\
case "$1" in --test-only) exit 0;; esac
n=$(ls queued 2>/dev/null | wc -l); mkdir -p queued
cp "$2" queued/$((n + 1)); echo $((n + 1))""",
    "scancel": 'echo "$@" >> cancelled',
    "squeue": """\
[ -e ended ] || for f in queued/*; do
  echo "$(basename $f)_0|$(sed -n 's/^#SBATCH --job-name=//p' $f)|PENDING|None"; done""",
}
CLUSTER = SlurmOptions(profile="site")


@pytest.fixture
def queue(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster with a profile that asks for GPUs; the folder of the scripts in its queue."""
    monkeypatch.setenv("PATH", f"{write_commands(workdir, SCRIPTS)}:{os.environ['PATH']}")
    Path("slurm").mkdir()
    Path("slurm/site.yaml").write_text("gpus: 2\ncpus: 4\ncanary: false\n")
    return workdir / "queued"


def prepare(*overrides: str, slurm: SlurmOptions = SlurmOptions(), num_jobs: int = 3) -> int:  # noqa: B008
    return prepare_corpora(
        Path("study.yaml"), overrides, slurm=slurm, num_jobs=num_jobs, command=STAND_IN
    )


def test_clips_are_decoded_and_the_stores_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare() == study.DONE
    assert "cache/store: 4 clips, 2 hours, 5e-06 GB; 1 were left out" in read_output(capsys)
    assert not Path("reports").exists()


def test_wrong_settings_are_reported_before_anything_is_decoded(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert prepare("masker.ratio=2") == study.WRONG
    assert "must be at most 1" in capsys.readouterr().err


def test_jobs_share_the_clips_and_another_joins_them_when_they_have_ended(
    queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(slurm=CLUSTER) == study.DONE
    assert "submitted 3 jobs as 1, and 2, which joins their clips" in read_output(capsys)
    parts, join = ((queue / name).read_text() for name in "12")
    assert "#SBATCH --array=0-2%" in parts
    assert "#SBATCH --dependency=afterany:1" in join
    assert "gpus" not in parts + join
    cache = ["--cache", str(Path("cache").absolute())]
    for kind, more in {"decode": ["--parts", "3"], "join": []}.items():
        [home] = Path(f"reports/masking/slurm/{kind}").glob("*/study.json")
        command = CommandJob.read(home.with_name("command.json")).command
        assert command[:3] == ["-m", "ablate.study.job", str(home.absolute())]
        assert command[3:] == [kind, *cache, *more]
        assert run_job(home, kind, num_parts=3, command=STAND_IN) == study.DONE


def test_a_study_is_not_submitted_while_its_clips_are_being_decoded(
    queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert prepare(slurm=CLUSTER, num_jobs=1) == study.DONE

    def submit() -> int:
        return study.run_study(Path("study.yaml"), slurm=CLUSTER, command=STAND_IN)

    assert [prepare(slurm=CLUSTER), submit()] == [study.FAILED] * 2
    assert capsys.readouterr().err.count("job 1 is still decoding the clips of masking") == 2
    Path("ended").touch()
    assert submit() == study.DONE
    assert len(list(queue.iterdir())) == 2


def test_two_processes_that_decode_at_the_same_moment_leave_the_jobs_of_one(
    queue: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(3) as processes:
        codes = list(processes.map(lambda _: prepare(slurm=CLUSTER), range(3)))
    assert sorted(codes) == sorted([study.DONE, study.FAILED, study.FAILED])
    assert sorted(path.name for path in queue.iterdir()) == ["1", "2"]
    assert not Path("cancelled").exists()
    assert capfd.readouterr().err.count("is still decoding the clips of masking") == 2


def test_jobs_that_another_process_has_queued_are_not_cancelled(
    queue: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert prepare(slurm=CLUSTER) == study.DONE
    monkeypatch.setattr(corpora, "check_decoding_jobs", lambda *_: None)  # they came after it
    assert prepare(slurm=CLUSTER) == study.FAILED
    assert "job 1 has been submitted by another process" in capfd.readouterr().err
    assert not Path("cancelled").exists()


def test_a_dry_run_shows_the_jobs_and_writes_nothing(
    queue: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = SlurmOptions(profile="site", dry_run=True)
    assert prepare(slurm=options) == study.DONE
    assert "#SBATCH --dependency=afterany:DECODING" in read_output(capsys)
    assert not queue.exists()
    assert not Path("reports").exists()
