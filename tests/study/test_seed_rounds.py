"""Seeds that a study adds while it is undecided, as it has declared, against a stand-in worker."""

import json
import shutil
from pathlib import Path

import pytest

from ablate.config import loader
from ablate.config.sections import SeedGrowth
from ablate.config.study import StudyError
from ablate.core.records.looks import LookLog
from ablate.core.records.plan import Look, RecordedLooks, StudyPlan
from ablate.executors.local import Pool
from ablate.runs.job import RunJob
from ablate.slurm.options import SlurmOptions
from ablate.slurm.profile import Profile
from ablate.slurm.resources import Resources
from ablate.study import run as study
from tests.executors.stand_in import STAND_IN

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
    return study.run_study(write(seeds, lift), overrides, workers=2, command=STAND_IN)


def plan(name: str = "masking") -> StudyPlan:
    return StudyPlan.read(Path(f"reports/{name}/plan.json"))


def trainings() -> int:
    """Counts the trials that were trained, their references apart."""
    kinds = (json.loads(p.read_text())["kind"] for p in Path("runs").glob("*/config.json"))
    return sum(kind == "jepa" for kind in kinds)


def written() -> dict[str, bytes]:
    files = Path("reports/masking").rglob("*.*")
    return {str(f): f.read_bytes() for f in files if f.suffix in (".md", ".csv", ".html", ".json")}


def looks() -> tuple[Look, ...]:
    [file] = Path("runs/looks").iterdir()
    return LookLog.read(file).looks


def test_a_study_adds_seeds_while_it_is_undecided_and_no_further_than_declared(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("{start: 3, max: 4}") == study.DONE
    assert plan().looks == RecordedLooks(seed_counts=(3, 4), max_seeds=4)
    assert trainings() == 2 * 4
    text = capsys.readouterr().out
    undecided = "undecided: masker: other against good"
    assert f"looked at with 3 of up to 4 seeds: {undecided}; continuing to 4 seeds\n" in text
    assert f"looked at with 4 of up to 4 seeds: {undecided}; all declared seeds are used" in text
    before, recorded = written(), looks()
    shutil.rmtree("reports")  # looked at is looked at
    assert run("{start: 3, max: 4}") == study.DONE
    assert "0 trials to run, 8 done" in capsys.readouterr().out
    assert written() == before
    assert looks() == recorded


def test_a_study_that_is_decided_trains_no_further_seed(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("{start: 3, max: 6}", FAR) == study.DONE
    assert plan().looks == RecordedLooks(seed_counts=(3,), max_seeds=6)
    assert trainings() == 2 * 3
    assert "more seeds could decide nothing further" in capsys.readouterr().out


def test_limits_count_all_that_a_study_may_come_to(workdir: Path) -> None:
    assert run("{start: 2, max: 4}", ALIKE, "limits={trials: 7}") == study.OVER
    assert not Path("runs").exists()


def test_seeds_that_were_not_declared_are_warned_of(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    warning = (
        "Earlier reports on this question had other numbers of seeds (2), and p-values are not "
        "corrected for those looks."
    )
    run("2")
    shutil.rmtree("reports")
    assert run("3") == study.DONE
    assert warning in Path("reports/masking/report.md").read_text()
    assert warning in " ".join(capsys.readouterr().out.split())
    run("2")  # what was looked at first is as it was
    assert "A report on this question" not in Path("reports/masking/report.md").read_text()


def test_another_question_has_looks_of_its_own(workdir: Path) -> None:
    run("2")
    run("3", FAR)
    assert not plan().uncorrected


THIRD = "factors.masker.third={type: Good, lift: 5}"


def test_variants_that_were_added_after_a_look_at_the_others_are_named(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("2")
    assert not plan().added
    study.plan_study(write("2"), [THIRD], command=STAND_IN)
    assert "added after a look at the other variants: third\n" in capsys.readouterr().out
    for name in ("masking", "bigger"):  # another name makes it no other question
        run("2", ALIKE, THIRD, f"study={name}")
        assert plan(name).added == ("third",)
        text = Path(f"reports/{name}/report.md").read_text()
        assert "1 variant was added after results of the others were known: third." in text


def test_variants_that_were_there_at_the_first_look_are_not_called_added(workdir: Path) -> None:
    for overrides in ([THIRD], [THIRD], []):
        run("2", ALIKE, *overrides)
        assert not plan().added


class Deaf:
    """Hears nothing of a pool."""

    def on_progress(self, *given: object) -> None: ...
    def on_finished(self, *given: object) -> None: ...


class Now:
    """A cluster that does at once, on this machine, what is handed over."""

    resources = Resources(Profile(name="now"))

    def submit(self, jobs: list[RunJob]) -> "Now":
        with Pool(Path("cache"), size=2, command=STAND_IN) as pool:
            pool.run(jobs, Deaf())
        return self

    def describe(self) -> list[str]:
        return ["handed over"]


def test_without_watching_a_cluster_a_study_is_looked_at_once_a_time(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "create_cluster", lambda *given: Now())
    file, counts = write("{start: 2, max: 4}"), []
    for _ in range(3):
        assert study.run_study(file, slurm=SlurmOptions("now"), command=STAND_IN) == study.DONE
        counts.append((trainings(), len(looks()) if Path("runs/looks").exists() else 0))
    assert counts == [(4, 0), (8, 1), (8, 2)]


def test_the_last_step_goes_to_the_last_declared_seed() -> None:
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
def test_wrong_seeds_are_refused_where_they_are_written(
    workdir: Path, seeds: str, problem: str
) -> None:
    with pytest.raises(StudyError) as refused:
        loader.load(write(seeds))
    assert str(refused.value).startswith("study.yaml:10: ")
    assert problem in str(refused.value)
