"""Notes of the points of a sweep in the dashboard, without a browser."""

from pathlib import Path

import optuna
import optuna_dashboard

from ablate.config import loader
from ablate.config.search_space import read_space
from ablate.config.tree import from_plain
from ablate.dashboards.optuna import write_dashboard
from ablate.runs.store import Folders
from ablate.sweep.heartbeat import SweepProcess
from ablate.sweep.search import Search
from ablate.sweep.storage import close_storage, open_storage

SPACE = read_space(from_plain({"optimizer.rate": {"low": 0.1, "high": 1.0}}, "study.yaml"))
STUDY = """\
study: example
baseline: {masker: {type: Good}}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
sweep: {trials: 2, space: {optimizer.rate: {low: 0.1, high: 1.0}}}
"""


def test_only_a_failed_point_is_described_as_failed(workdir: Path) -> None:
    Path("study.yaml").write_text(STUDY)
    storage = open_storage(None, workdir / "reports" / "example" / "optuna.journal")
    search = Search(storage, "example (a)", space=SPACE, trials=2, process=SweepProcess())
    pruned, failed = search.next_point(), search.next_point()
    assert pruned is not None
    assert failed is not None
    search.prune(pruned, "pruned at 25 % of the steps", {"pruned": "pruned at 25 % of the steps"})
    search.fail(failed, "nan: at step 7")
    write_dashboard(
        loader.load(Path("study.yaml")),
        Folders(workdir / "runs", workdir / "reports", workdir / "cache"),
    )
    notes = [
        optuna_dashboard.get_note(optuna.trial.Trial(search.study, trial._trial_id)).splitlines()
        for trial in search.study.get_trials()
    ]
    close_storage(storage)
    assert "pruned at 25 % of the steps" in notes[0]
    assert "Failed: nan: at step 7" in notes[1]
