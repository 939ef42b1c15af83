"""A study adds seeds while it is undecided, up to the number that it has declared."""

import json
import shutil
from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.seeds import SeedGrowth
from ablate.config.study import StudyError
from ablate.core.records.looks import LookLog
from ablate.core.records.plan import Look, RecordedLooks, StudyPlan
from ablate.executors.local import Pool
from ablate.runs.job import RunJob
from ablate.slurm.options import SlurmOptions
from ablate.slurm.profile import Profile
from ablate.slurm.resources import Resources
from ablate.study import interim_looks
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN
from tests.plans import make_entry, make_plan

STUDY = """\
study: masking
baseline:
  data: {type: Sound}
  masker: {type: Good, lift: 0}
  patchifier: {type: Squares}
factors:
  masker:
    good: {type: Good, lift: 0}
    other: {type: Good, lift: LIFT}
seeds: SEEDS
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
report: {equivalence_margin: 0.01}
"""
ALIKE, FAR = "0.001", "20"


def write(seeds: str, lift: str = ALIKE) -> Path:
    file = Path("study.yaml")
    file.write_text(STUDY.replace("SEEDS", seeds).replace("LIFT", lift))
    return file


def run(seeds: str, lift: str = ALIKE, *overrides: str) -> int:
    named = overrides if "study=bigger" in overrides else (*overrides, "study=masking")
    return study.run_study(write(seeds, lift), named, workers=2, force=True, command=STAND_IN)


def plan(name: str = "masking") -> StudyPlan:
    return StudyPlan.read(Path(f"reports/{name}/plan.json"))


def trainings() -> int:
    """Counts the trained trials, without their references."""
    kinds = (json.loads(p.read_text())["kind"] for p in Path("runs").glob("*/config.json"))
    return sum(kind == "jepa" for kind in kinds)


def read_report_files() -> dict[str, bytes]:
    files = Path("reports/masking").rglob("*.*")
    return {str(f): f.read_bytes() for f in files if f.suffix in (".md", ".csv", ".html", ".json")}


def looks() -> tuple[Look, ...]:
    [file] = Path("runs/looks").iterdir()
    return LookLog.read(file).looks


def test_a_study_adds_seeds_while_it_is_undecided_up_to_the_declared_number(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("{start: 3, max: 4}") == study.DONE
    assert plan().looks == RecordedLooks(seed_counts=(3, 4), max_seeds=4)
    assert trainings() == 2 * 4
    text = capsys.readouterr().out
    undecided = "undecided: masker: other against good"
    assert f"looked at with 3 of up to 4 seeds: {undecided}; continuing to 4 seeds\n" in text
    assert f"looked at with 4 of up to 4 seeds: {undecided}; all declared seeds are used" in text
    before, recorded = read_report_files(), looks()
    shutil.rmtree("reports")  # the log of looks lies among the runs
    assert run("{start: 3, max: 4}") == study.DONE
    assert "0 trials to run, 8 done" in capsys.readouterr().out
    assert read_report_files() == before
    assert looks() == recorded


def test_a_decided_study_adds_no_seed(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("{start: 3, max: 6}", FAR) == study.DONE
    assert plan().looks == RecordedLooks(seed_counts=(3,), max_seeds=6)
    assert trainings() == 2 * 3
    assert "more seeds could decide nothing further" in capsys.readouterr().out


def test_limits_include_every_declared_seed(workdir: Path) -> None:
    assert run("{start: 2, max: 4}", ALIKE, "limits={trials: 7}") == study.OVER
    assert not Path("runs").exists()


def test_undeclared_looks_give_a_warning(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    warning = (
        "Earlier reports on this question had other numbers of seeds (2), and p-values are not "
        "corrected for those looks."
    )
    run("2")
    shutil.rmtree("reports")
    assert run("3") == study.DONE
    assert warning in Path("reports/masking/report.md").read_text()
    assert warning in " ".join(capsys.readouterr().out.split())
    run("2")  # the first look needs no warning
    assert "A report on this question" not in Path("reports/masking/report.md").read_text()


def test_another_question_has_its_own_log_of_looks(workdir: Path) -> None:
    run("2")
    run("3", FAR)
    assert not plan().uncorrected


THIRD = "factors.masker.third={type: Good, lift: 5}"


def test_variants_added_after_a_look_at_the_others_are_listed(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("2")
    assert not plan().added
    study.plan_study(write("2"), [THIRD], command=STAND_IN)
    assert "added after a look at the other variants: third\n" in capsys.readouterr().out
    for name in ("masking", "bigger"):  # the same question under another name
        run("2", ALIKE, THIRD, f"study={name}")
        assert plan(name).added == ("third",)
        text = Path(f"reports/{name}/report.md").read_text()
        assert "1 variant was added after results of the others were known: third." in text


def test_variants_of_the_first_look_are_not_listed_as_added(workdir: Path) -> None:
    for overrides in ([THIRD], [THIRD], []):
        run("2", ALIKE, *overrides)
        assert not plan().added


class SilentListener:
    """Ignores the progress of a pool."""

    def on_progress(self, *args: object) -> None: ...
    def on_finished(self, *args: object) -> None: ...


class ImmediateCluster:
    """A cluster that runs submitted jobs at once, on this machine."""

    resources = Resources(Profile(name="now"))

    def submit(self, jobs: list[RunJob]) -> "ImmediateCluster":
        with Pool(Path("cache"), size=2, command=STAND_IN) as pool:
            pool.run(jobs, SilentListener())
        return self

    def describe(self) -> list[str]:
        return ["handed over"]


def test_without_watch_each_command_submits_one_round_of_seeds(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "create_cluster", lambda *args: ImmediateCluster())
    file, counts = write("{start: 2, max: 4}"), []
    for _ in range(3):
        assert study.run_study(file, slurm=SlurmOptions("now"), command=STAND_IN) == study.DONE
        counts.append((trainings(), len(looks()) if Path("runs/looks").exists() else 0))
    assert counts == [(4, 0), (8, 1), (8, 2)]


def test_the_last_round_has_the_declared_maximum_of_seeds() -> None:
    growth = SeedGrowth(start=3, max=8)
    assert [growth.get_next_count(count) for count in (3, 5, 7, 8)] == [5, 7, 8, None]


@pytest.mark.parametrize(
    ("seeds", "problem"),
    [
        ("{start: 3, most: 8}", "unknown key `most` of `seeds`"),
        ("{start: 3}", "`seeds.max` is missing: largest number of seeds"),
        ("{start: 0, max: 8}", "`seeds.start` must be a count from 1 up; got 0"),
        ("{start: 3, max: 3}", "`seeds.max` must be more than `seeds.start`"),
        ("some", "`{start: 3, max: 8}` to add some while a contrast is undecided"),
    ],
)
def test_invalid_seeds_are_reported_with_their_line(
    workdir: Path, seeds: str, problem: str
) -> None:
    with pytest.raises(StudyError) as caught:
        loader.load(write(seeds))
    assert str(caught.value).startswith("study.yaml:10: ")
    assert problem in str(caught.value)


def test_seeds_that_cross_others_are_not_counted_as_a_look(tmp_path: Path) -> None:
    trials = [make_entry(f"t{seed}", seed=seed, crosses=seed > 1) for seed in range(6)]
    interim_looks.record_look(make_plan(*trials), tmp_path)
    later = make_plan(*(make_entry(f"t{seed}", seed=seed) for seed in range(5)))
    assert interim_looks.with_looks(later, None, tmp_path).uncorrected == (Look(num_seeds=2),)
