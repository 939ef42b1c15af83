"""Published reports agree with their study files and with their own scores."""

import csv
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from ablate.config import loader
from ablate.executors.local import Pool
from ablate.executors.progress import create_console
from ablate.study import run as study

STUDIES = Path(__file__).parents[1] / "studies"
STUDY_FILES = sorted(
    file
    for file in STUDIES.glob("*.yaml")
    if (STUDIES / "results" / file.stem / "scores.csv").is_file()
)
REPORTS = sorted(path.parent for path in STUDIES.glob("results/*/findings.json"))
KINDS = "jepa", "random_init"
LOG_MEL = "log-mel "  # start of the name of a baseline, before its pooling
Levels = tuple[str, ...]  # levels of a variant in the order of the factors


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")  # shared, so that the corpus is created once


@pytest.mark.parametrize("file", STUDY_FILES, ids=lambda file: file.stem)
def test_a_published_report_has_the_trials_of_its_study_file(file: Path, cache: Path) -> None:
    with (STUDIES / "results" / file.stem / "scores.csv").open() as lines:
        reported = {row["fingerprint"] for row in csv.DictReader(lines) if row["kind"] == "jepa"}
    with Pool(cache, size=1) as pool:
        plan = study.prepare(loader.load(file), pool, create_console())
    assert {trial.fingerprint for trial in plan.trials} == reported


class Recomputation:
    """Recomputes the differences of a published report from its `scores.csv`."""

    def __init__(self, report: Path) -> None:
        self.findings: dict[str, Any] = json.loads((report / "findings.json").read_text())
        with (report / "scores.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        columns = list(rows[0])
        self.factors = columns[columns.index("variant") + 1 : columns.index("seed")]
        self.baseline: Levels = tuple(self.findings["baseline"].split(", "))
        variants = [entry["variant"] for entry in self.findings["variants"]]
        probes, _, pooling = self.findings["score"].rpartition(".")
        by_variant = itertools.cycle(probes.split(" or "))  # the probe may be the last factor
        probe_by_variant = dict(zip(variants, by_variant, strict=False))
        tasks: dict[tuple[Levels, str, int], list[float]] = {}
        for row in rows:
            if row["kind"] == "mel_statistics" and row["probe"] == probe_by_variant[row["variant"]]:
                levels = tuple(row[factor] for factor in self.factors)
                key = (levels, LOG_MEL + row["pooling"], int(row["seed"]))
                tasks.setdefault(key, []).append(float(row["test"]))
            elif (row["probe"], row["pooling"]) == (probe_by_variant[row["variant"]], pooling):
                levels = tuple(row[factor] for factor in self.factors)
                key = (levels, row["kind"], int(row["seed"]))
                tasks.setdefault(key, []).append(float(row["test"]))
        self.scores = {key: fmean(scores) for key, scores in tasks.items()}
        self.variants = dict.fromkeys(levels for levels, _, _ in self.scores)

    def compute_difference(self, verdict: dict[str, Any]) -> float:
        """Averages over combinations within each seed, then over seeds."""
        combinations = [*self._list_combinations(verdict)]
        return fmean(
            fmean(self._compute_value(verdict, arms, seed) for arms in combinations)
            for seed in self.findings["seeds"]
        )

    def _list_combinations(self, verdict: dict[str, Any]) -> Iterator[tuple[Levels, Levels]]:
        where = verdict["where"]
        if verdict["family"] == "learning":
            fixed = tuple(
                where if any(levels[i] == where for levels in self.variants) else level
                for i, level in enumerate(self.baseline)
            )
            yield fixed, fixed
            return
        if verdict["family"] == "untrained":
            levels = tuple(verdict["level"].split(", "))
            yield levels, levels
            return
        columns = [factor.removeprefix("factor ") for factor in self.factors]
        column = columns.index(verdict["factor"])
        for levels in self.variants:
            other = (*levels[:column], verdict["against"], *levels[column + 1 :])
            if levels[column] == verdict["level"] and other in self.variants:
                rest = ", ".join((*levels[:column], *levels[column + 1 :]))
                if where in ("all", rest) or where.startswith("pooled over "):
                    yield levels, other

    def _compute_value(
        self, verdict: dict[str, Any], arms: tuple[Levels, Levels], seed: int
    ) -> float:
        if verdict["family"] == "untrained":
            baseline = verdict["against"].replace(" ", "_")
            kind = verdict["against"] if verdict["against"].startswith(LOG_MEL) else baseline
            return self.scores[arms[0], "jepa", seed] - self.scores[arms[1], kind, seed]
        one, other = ([self.scores[arm, kind, seed] for kind in KINDS] for arm in arms)
        if verdict["family"] == "learning":
            return one[0] - one[1]
        if verdict["measure"] == "gain":
            return (one[0] - one[1]) - (other[0] - other[1])
        return one[0] - other[0]


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.name)
def test_the_differences_of_a_published_report_agree_with_its_scores(report: Path) -> None:
    recomputed = Recomputation(report)
    assert recomputed.findings["verdicts"]
    for verdict in recomputed.findings["verdicts"]:
        difference = recomputed.compute_difference(verdict)
        assert difference == pytest.approx(verdict["difference"], abs=1e-9), verdict
