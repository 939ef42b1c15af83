"""The reports that are kept with the code are of the trials that their study files now mean."""

import csv
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
KEPT = sorted(
    file
    for file in STUDIES.glob("*.yaml")
    if (STUDIES / "results" / file.stem / "scores.csv").is_file()
)
REPORTS = sorted(path.parent for path in STUDIES.glob("results/*/findings.json"))
KINDS = "jepa", "random_init"
Levels = tuple[str, ...]  # of a variant, in the order of the factors


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")  # the corpus, once for all


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_a_kept_report_is_of_the_trials_that_its_file_means(file: Path, cache: Path) -> None:
    with (STUDIES / "results" / file.stem / "scores.csv").open() as lines:
        reported = {row["fingerprint"] for row in csv.DictReader(lines) if row["kind"] == "jepa"}
    with Pool(cache, size=1) as pool:
        planned = study.prepare(loader.load(file), pool, create_console())
    assert {trial.fingerprint for trial in planned.trials} == reported


class Twin:
    """A kept report's differences, worked out from its `scores.csv` the obvious way."""

    def __init__(self, report: Path) -> None:
        self.found: dict[str, Any] = json.loads((report / "findings.json").read_text())
        with (report / "scores.csv").open() as lines:
            rows = list(csv.DictReader(lines))
        names = list(rows[0])
        self.factors = names[names.index("variant") + 1 : names.index("seed")]
        self.baseline: Levels = tuple(self.found["baseline"].split(", "))
        variants = [of["variant"] for of in self.found["variants"]]
        probes, _, pooling = self.found["score"].rpartition(".")
        asked = probes.split(" or ") if " or " in probes else [probes] * len(variants)
        probe_of = dict(zip(variants, asked, strict=True))  # a factor may be the probe
        tasks: dict[tuple[Levels, str, int], list[float]] = {}
        for row in rows:
            if (row["probe"], row["pooling"]) == (probe_of[row["variant"]], pooling):
                levels = tuple(row[factor] for factor in self.factors)
                key = (levels, row["kind"], int(row["seed"]))
                tasks.setdefault(key, []).append(float(row["test"]))
        self.scores = {key: fmean(of) for key, of in tasks.items()}
        self.variants = dict.fromkeys(levels for levels, _, _ in self.scores)

    def difference(self, verdict: dict[str, Any]) -> float:
        """Averages over combinations within each seed, then over seeds."""
        combinations = [*self._combinations(verdict)]
        return fmean(
            fmean(self._value(verdict, arms, seed) for arms in combinations)
            for seed in self.found["seeds"]
        )

    def _combinations(self, verdict: dict[str, Any]) -> Iterator[tuple[Levels, Levels]]:
        where = verdict["where"]
        if verdict["family"] == "learning":
            known = [{levels[i] for levels in self.variants} for i in range(len(self.factors))]
            held = [where if where in of else b for of, b in zip(known, self.baseline, strict=True)]
            yield tuple(held), tuple(held)
            return
        columns = [factor.removeprefix("factor ") for factor in self.factors]
        place = columns.index(verdict["factor"])
        for levels in self.variants:
            other = (*levels[:place], verdict["against"], *levels[place + 1 :])
            if levels[place] == verdict["level"] and other in self.variants:
                rest = ", ".join((*levels[:place], *levels[place + 1 :]))
                if where in ("all", rest) or where.startswith("pooled over "):
                    yield levels, other

    def _value(self, verdict: dict[str, Any], arms: tuple[Levels, Levels], seed: int) -> float:
        one, other = ([self.scores[arm, kind, seed] for kind in KINDS] for arm in arms)
        if verdict["family"] == "learning":
            return one[0] - one[1]
        if verdict["measure"] == "gain":
            return (one[0] - one[1]) - (other[0] - other[1])
        return one[0] - other[0]


@pytest.mark.parametrize("report", REPORTS, ids=lambda path: path.name)
def test_the_differences_of_a_kept_report_are_those_of_its_scores(report: Path) -> None:
    twin = Twin(report)
    assert twin.found["verdicts"]
    for verdict in twin.found["verdicts"]:
        assert twin.difference(verdict) == pytest.approx(verdict["difference"], abs=1e-9), verdict
