"""What the dashboard says beside each point of a sweep, without a browser."""

from pathlib import Path

import optuna
import optuna_dashboard

from ablate.config import loader
from ablate.config.search_space import read_space
from ablate.config.tree import from_plain
from ablate.dashboards.optuna import fill
from ablate.runs.store import Folders
from ablate.sweep.heartbeat import Presence
from ablate.sweep.search import Search
from ablate.sweep.storage import close_storage, open_storage

SPACE = read_space(from_plain({"optimizer.rate": {"low": 0.1, "high": 1.0}}, "here"))
STUDY = """\
study: shown
baseline: {masker: {type: Good}}
seeds: 2
probes: {knn: {type: KNN, k: 10}}
score: knn.mean
sweep: {trials: 2, space: {optimizer.rate: {low: 0.1, high: 1.0}}}
"""


def test_only_a_point_that_failed_is_said_to_have_failed(workdir: Path) -> None:
    Path("study.yaml").write_text(STUDY)
    storage = open_storage(None, workdir / "reports" / "shown" / "optuna.journal")
    search = Search(storage, "shown (a)", space=SPACE, trials=2, presence=Presence())
    pruned, failed = search.ask(), search.ask()
    assert pruned is not None
    assert failed is not None
    search.prune(pruned, "pruned at 25 % of the steps", {"pruned": "pruned at 25 % of the steps"})
    search.fail(failed, "nan: at step 7")
    fill(
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
