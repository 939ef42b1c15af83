"""Studies written for Optuna's dashboard."""

from pathlib import Path

import optuna

from ablate.dashboards.optuna_content import DashboardStorage, GridTrial, StudyPage


def test_trials_of_a_grid_may_lack_factors_that_others_have(tmp_path: Path) -> None:
    params = [
        {"masker": "random", "seed": "0"},
        {"masker": "block", "area": "large", "seed": "0"},
        {"masker": "block", "area": "small", "seed": "0"},
    ]
    storage = optuna.storages.InMemoryStorage()
    grid_trials = [
        GridTrial(params=each, score=1.0, note="", facts={}, pictures=[]) for each in params
    ]
    page = StudyPage(note="", figures={}, pictures=[])
    DashboardStorage(storage, tmp_path / "artifacts").write_grid("grid", "score", grid_trials, page)
    trials = optuna.load_study(study_name="grid", storage=storage).get_trials()
    assert [trial.params for trial in trials] == params
