"""What is written for Optuna's dashboard is what it can show."""

from pathlib import Path

import optuna

from ablate.dashboards.optuna_content import Entry, Page, Window


def test_trials_of_a_grid_may_lack_factors_that_others_have(tmp_path: Path) -> None:
    params = [
        {"masker": "random", "seed": "0"},
        {"masker": "block", "area": "large", "seed": "0"},
        {"masker": "block", "area": "small", "seed": "0"},
    ]
    storage = optuna.storages.InMemoryStorage()
    entries = [Entry(params=each, score=1.0, note="", facts={}, pictures=[]) for each in params]
    page = Page(note="", figures={}, pictures=[])
    Window(storage, tmp_path / "artifacts").show_grid("grid", "score", entries, page)
    shown = optuna.load_study(study_name="grid", storage=storage).get_trials()
    assert [trial.params for trial in shown] == params
