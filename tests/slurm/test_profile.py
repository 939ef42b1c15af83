"""Tests of cluster profiles and of their sbatch scripts, without a cluster."""

from pathlib import Path

import pytest

from ablate.config.study import StudyError
from ablate.config.tree import from_plain
from ablate.slurm import profile, sbatch
from ablate.slurm.profile import Profile

ROOT = Path(__file__).parents[2]


def build(**settings):
    return profile.build_profile("mine", from_plain(settings, "mine.yaml:1").children)


def format_script(built, **options):
    return sbatch.format_script(
        built, Path("/home/s/array-00.json"), name="study", code=Path("/c"), **options
    )


@pytest.mark.parametrize("file", sorted((ROOT / "slurm").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_bundled_profile_can_be_read(file):
    assert profile.load_profile(str(file)).name == file.stem


def test_an_unknown_key_is_reported_with_its_line():
    with pytest.raises(StudyError, match=r"mine.yaml:1: unknown key `partitoin` \(did you mean"):
        build(partitoin="cpu")


def test_all_problems_are_reported_at_once():
    with pytest.raises(StudyError) as error:
        build(minutes=0, memory="lots", gpus_as="gpu", setup="module load", canary="yes")
    assert len(error.value.problems) == 5


@pytest.mark.parametrize(
    ("spelling", "line"),
    [
        ("gpus_per_node", "#SBATCH --gpus-per-node=a100:2"),
        ("gres", "#SBATCH --gres=gpu:a100:2"),
        ("gpus", "#SBATCH --gpus=a100:2"),
    ],
)
def test_gpus_are_requested_by_the_option_of_the_profile(spelling, line):
    assert line in format_script(build(gpus=2, gpu_type="a100", gpus_as=spelling)).splitlines()


def test_alternatives_become_a_constraint():
    assert "#SBATCH --constraint='a100|h100'" in format_script(build(constraint=["a100", "h100"]))


def test_an_array_waits_for_its_canary():
    lines = format_script(Profile(name="mine", parallel=2), count=5, after="77").splitlines()
    assert "#SBATCH --array=0-4%2" in lines
    assert "#SBATCH --dependency=afterok:77" in lines
    assert "#SBATCH --kill-on-invalid-dep=yes" in lines


def test_the_profiles_setup_precedes_the_command():
    built = build(setup=["module load cuda"], environment={"A": "b c"}, sbatch={"nice": 7})
    lines = format_script(built).splitlines()
    assert "#SBATCH --nice=7" in lines
    command = next(n for n, line in enumerate(lines) if "ablate.slurm.job" in line)
    assert lines.index("module load cuda") < lines.index("export A='b c'") < command


def test_a_job_uses_one_thread_unless_its_profile_sets_more():
    assert "export OMP_NUM_THREADS=1" in format_script(build()).splitlines()
    more = format_script(build(environment={"OMP_NUM_THREADS": "8"})).splitlines()
    assert "export OMP_NUM_THREADS=8" in more


def test_trials_side_by_side_get_cpus_and_memory_each():
    built = build(cpus=2, memory="8G", trials_per_job=4, trials_at_once=3)
    lines = format_script(built).splitlines()
    assert "#SBATCH --cpus-per-task=6" in lines
    assert "#SBATCH --mem=24G" in lines


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"trials_at_once": 2}, "need as many `trials_per_job`; got 1"),
        ({"trials_at_once": 2, "trials_per_job": 2, "nodes": 2}, "leave `ranks` and `nodes` at 1"),
        ({"trials_at_once": 0}, "must be a number from 1 up"),
    ],
)
def test_trials_that_cannot_run_side_by_side_are_an_error(settings, problem):
    with pytest.raises(StudyError, match=problem):
        build(**settings)
