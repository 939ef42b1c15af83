"""The reports that are kept with the code are of the trials that their study files now mean."""

import csv
from pathlib import Path

import pytest

from ablate import config, study
from ablate.launching.pool import Pool
from ablate.launching.watch import terminal

STUDIES = Path(__file__).parents[1] / "studies"
KEPT = sorted(
    file
    for file in STUDIES.glob("*.yaml")
    if (STUDIES / "results" / file.stem / "scores.csv").is_file()
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")  # the corpus, once for all


@pytest.mark.parametrize("file", KEPT, ids=lambda file: file.stem)
def test_a_kept_report_is_of_the_trials_that_its_file_means(file: Path, cache: Path) -> None:
    with (STUDIES / "results" / file.stem / "scores.csv").open() as lines:
        reported = {row["fingerprint"] for row in csv.DictReader(lines) if row["kind"] == "jepa"}
    with Pool(cache, size=1) as pool:
        planned = study.prepare(config.load(file), pool, terminal())
    assert {trial.fingerprint for trial in planned.trials} == reported
