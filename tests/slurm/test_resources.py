"""Tests of the resources of levels and of the arrays that result, without a cluster."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config import loader
from ablate.config.study import StudyError
from ablate.config.tree import Node, from_plain
from ablate.design import factors
from ablate.runs.job import RunJob
from ablate.runs.store import get_folders, write_config
from ablate.slurm import arrays as slurm_arrays
from ablate.slurm import resources
from ablate.slurm.options import SlurmOptions, create_cluster
from ablate.slurm.profile import Profile
from ablate.slurm.resources import Resources
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.study.conftest import STUDY as PLAIN

STUDY = """\
study: sizes
baseline: {encoder: {dim: 16}, masker: {ratio: 0.6}, optimizer: {rate: 0.001}}
factors:
  encoder: {small: {dim: 16}, large: {dim: 64}}
  optimizer.rate: [0.001, 0.01]
  masker: {few: {ratio: 0.6}, many: {ratio: 0.8}}
zip: [[encoder, optimizer.rate]]
seeds: 1
probes: {knn: {type: KNN}}
slurm:
  profile: site.yaml
  minutes: 5
  levels:
"""
STUDY_WITH_LEVELS = """\
study: patches
baseline:
  data: {type: Sound}
  masker: {type: Good}
  patchifier: {type: Squares}
  budget: {steps: 9}
factors: {patchifier: {squares: {type: Squares}, strips: {type: Strips}}}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
slurm: {profile: site.yaml, levels: {patchifier: {strips: {memory: 64G}}}}
random_inits: 1
"""
LABELS = st.fixed_dictionaries(
    {}, optional={name: st.sampled_from("abc") for name in ("encoder", "masker")}
)
CHANGES = st.fixed_dictionaries(
    {},
    optional={
        "cpus": st.integers(1, 2),
        "memory": st.sampled_from(["1G", "2G"]),
        "trials_per_job": st.integers(1, 3),
        "max_array": st.integers(1, 3),
        "canary": st.booleans(),
    },
)
LEVEL_SETTINGS = st.dictionaries(
    st.sampled_from(["encoder", "masker"]),
    st.dictionaries(st.sampled_from("abc"), CHANGES, max_size=3),
)


@pytest.fixture
def profile_dir(tmp_path, monkeypatch):
    """A working directory with a profile in it."""
    monkeypatch.chdir(tmp_path)
    Path("site.yaml").write_text("partition: cpu\nmemory: 4G\nminutes: 60\nmax_array: 10\n")
    Path("other.yaml").write_text("partition: moon\nmax_array: 10\n")
    return tmp_path


def load_levels(*lines, name=None):
    Path("study.yaml").write_text(STUDY + "".join(f"    {line}\n" for line in lines))
    return resources.load_resources(loader.load(Path("study.yaml")), name)


def test_a_level_changes_only_the_settings_that_it_names(profile_dir):
    loaded = load_levels("encoder: {large: {memory: 64G, gpus: 2}}")
    large = loaded.get_profile({"encoder": "large", "masker": "few"})
    assert (large.memory, large.gpus, large.minutes, large.partition) == ("64G", 2, 5, "cpu")
    assert loaded.get_profile({"encoder": "small"}) == loaded.get_profile({}) == loaded.profile
    assert (loaded.profile.memory, loaded.profile.minutes) == ("4G", 5)


def test_of_two_levels_with_the_same_setting_the_later_one_counts(profile_dir):
    loaded = load_levels("masker: {many: {memory: 8G, cpus: 3}}", "encoder: {large: {memory: 64G}}")
    both = loaded.get_profile({"encoder": "large", "masker": "many"})
    assert (both.memory, both.cpus) == ("64G", 3)


def test_levels_also_change_a_profile_from_the_command_line(profile_dir):
    loaded = load_levels("encoder: {large: {memory: 64G}}", name="other.yaml")
    assert (loaded.profile.name, loaded.profile.minutes) == ("other", 60)
    assert loaded.get_profile({"encoder": "large"}).memory == "64G"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "encodr: {large: {cpus: 2}}",
            "the study has no factor `encodr` (did you mean `encoder`?)",
        ),
        ("encoder: {lrage: {cpus: 2}}", "has no level `lrage` (did you mean `large`?)"),
        ("encoder: {large: {memroy: 1G}}", "unknown key `memroy` (did you mean `memory`?)"),
        ("encoder: {large: {memory: lots}}", "`memory` must be a number with a unit, such as 16G"),
        ("encoder: {large: {gpus: 2, ranks: 3}}", "3 `ranks` per node need one GPU each"),
        ("encoder: {large: {poll_seconds: 3}}", "`poll_seconds` applies to the whole study"),
        ("encoder: {large: 64G}", "`slurm.levels.encoder.large` must map settings to values"),
        ("encoder: large", "`slurm.levels.encoder` must map levels to settings"),
        ("probe: {knn: {memory: 1G}}", "all probes score every run"),
    ],
)
def test_an_invalid_level_is_reported_with_its_line(profile_dir, line, problem):
    with pytest.raises(StudyError) as error:
        load_levels(line)
    assert str(error.value).startswith("study.yaml:14: ")
    assert problem in str(error.value)


def test_all_problems_of_levels_are_reported_at_once(profile_dir):
    with pytest.raises(StudyError) as error:
        load_levels("encoder: {lrage: {cpus: 0}}", "maskr: {}", "masker: {many: {gpu: 1}}")
    assert len(error.value.problems) == 4


def test_contradicting_levels_raise_for_the_trial_that_combines_them(profile_dir):
    loaded = load_levels("encoder: {large: {ranks: 4, gpus: 4}}", "masker: {many: {gpus: 2}}")
    with pytest.raises(StudyError, match=r"study.yaml:14: 4 `ranks` per node need one GPU each"):
        loaded.get_profile({"encoder": "large", "masker": "many"})


def test_zipped_factors_are_looked_up_by_each_name(profile_dir):
    Path("study.yaml").write_text(STUDY + "    optimizer.rate: {0.01: {cpus: 2}}\n")
    loaded = loader.load(Path("study.yaml"))
    levels = {"encoder + optimizer.rate": "large + 0.01", "masker": "few"}
    labels = factors.split_zipped_levels(factors.build_factors(loaded), levels)
    assert labels == {"encoder": "large", "optimizer.rate": "0.01", "masker": "few"}
    assert resources.load_resources(loaded).get_profile(labels).cpus == 2


def nodes(levels):
    return {
        factor: {label: from_plain(changes, "study.yaml:1") for label, changes in labels.items()}
        for factor, labels in levels.items()
    }


@given(st.lists(LABELS, max_size=12), LEVEL_SETTINGS, st.data())
def test_every_run_is_in_one_array_of_runs_with_the_same_resources(
    tmp_path_factory, labels, levels, data
):
    home = tmp_path_factory.mktemp("submission")
    resources_ = Resources(
        Profile(name="site", max_array=2), {"max_array": Node(2, "s:1")}, nodes(levels)
    )
    jobs = []
    for number, one in enumerate(labels):
        budget = {"budget": {"steps": 9}} if data.draw(st.booleans(), label="trained") else {}
        write_config(home / str(number), kind="jepa", settings=budget)
        jobs.append(RunJob(home / str(number), "a run", {}, levels=one))
    groups = slurm_arrays.group_jobs(jobs, resources_, home)
    arrays = [(group, file, packs) for group in groups for file, packs in group.arrays.items()]
    placed = [job.folder for _, _, packs in arrays for pack in packs for job in pack]
    assert sorted(placed) == sorted(job.folder for job in jobs)
    assert len({file for _, file, _ in arrays}) == len(arrays)
    for group, file, packs in arrays:
        assert all(
            resources_.get_profile(job.levels) == group.profile for pack in packs for job in pack
        )
        assert len(packs) <= group.profile.max_array
        assert all(len(pack) <= group.profile.trials_per_job for pack in packs)
        text = group.format_sbatch(file, "study")
        assert f"#SBATCH --cpus-per-task={group.profile.cpus}\n" in text
        assert f"#SBATCH --array=0-{len(packs) - 1}%" in text
    for group in groups:
        assert [other.profile == group.profile for other in groups].count(True) == 1
        trained = any("budget" in config.settings for config in group.configs)
        assert (group.canary is not None) == (group.profile.canary and trained)


def test_a_dry_run_writes_nothing_but_the_cache(profile_dir):
    Path("study.yaml").write_text(STUDY_WITH_LEVELS)
    options = SlurmOptions(dry_run=True)
    before = sorted(Path.cwd().rglob("*"))
    code = study.run_study(Path("study.yaml"), workers=1, slurm=options, command=STAND_IN)
    after = [path for path in sorted(Path.cwd().rglob("*")) if "cache" not in path.parts]
    assert (code, after) == (study.DONE, before)


def test_references_do_not_get_the_resources_of_a_level(profile_dir, capsys):
    Path("study.yaml").write_text(STUDY_WITH_LEVELS)
    dry = SlurmOptions(dry_run=True)
    assert study.run_study(Path("study.yaml"), workers=1, slurm=dry, command=STAND_IN) == study.DONE
    lines = [line for line in capsys.readouterr().out.splitlines() if "#SBATCH" in line]
    options = [line for line in lines if line.startswith(("#SBATCH --mem=", "#SBATCH --array="))]
    assert [line.removeprefix("#SBATCH --") for line in options] == [
        *("mem=4G", "array=0-6%7", "mem=4G"),  # a canary; two trials, four random inits, statistics
        *("mem=64G", "array=0-1%2", "mem=64G"),
    ]
    assert sum("--dependency=afterok:CANARY" in line for line in lines) == 2


@pytest.mark.parametrize(
    ("flag", "options"),
    [
        ("--dry-run", SlurmOptions(dry_run=True)),
        ("--watch", SlurmOptions(watch=True)),
        ("--prune-removed", SlurmOptions(prune_removed=True)),
    ],
    ids=lambda value: str(value)[:9],
)
def test_an_option_for_clusters_runs_nothing_without_one(profile_dir, capsys, flag, options):
    Path("study.yaml").write_text(PLAIN)
    assert (
        study.run_study(Path("study.yaml"), workers=1, slurm=options, command=STAND_IN)
        == study.WRONG
    )
    assert f"{flag} is for a cluster: name it, --slurm NAME" in capsys.readouterr().err
    assert not list(Path("runs").glob("*"))


def test_the_cluster_of_the_environment_serves_studies_that_name_none(profile_dir, monkeypatch):
    monkeypatch.setenv("ABLATE_CLUSTER", "site.yaml")
    folders, options = get_folders(), SlurmOptions()
    Path("study.yaml").write_text(PLAIN)
    cluster = create_cluster(loader.load(Path("study.yaml")), options, folders)
    assert cluster is not None
    assert cluster.profile.name == "site"
    monkeypatch.setenv("ABLATE_CLUSTER", "")
    assert create_cluster(loader.load(Path("study.yaml")), options, folders) is None


def test_variants_that_share_a_run_must_request_the_same_resources(profile_dir, capsys):
    levels = "masker: {good: {type: Good}, matched: {type: Matched}, other: {type: Other}}"
    text = STUDY_WITH_LEVELS.replace("factors: {", f"factors: {{{levels}, ")
    dry = SlurmOptions(dry_run=True)
    for level, code in (
        ("strips: {memory: 64G}", study.DONE),
        ("squares: {memory: 64G}", study.DONE),
    ):
        Path("study.yaml").write_text(text.replace("strips: {memory: 64G}", level))
        assert study.run_study(Path("study.yaml"), workers=1, slurm=dry, command=STAND_IN) == code
    changed = text.replace("patchifier: {strips: {m", "masker: {matched: {m")
    Path("study.yaml").write_text(changed)
    assert (
        study.run_study(Path("study.yaml"), workers=1, slurm=dry, command=STAND_IN) == study.WRONG
    )
    message = " ".join(capsys.readouterr().err.split())
    assert "study.yaml:11: `good, squares, seed 0` and `matched, squares, seed 0`" in message
    assert "asks `memory` '4G' or '64G'" in message
