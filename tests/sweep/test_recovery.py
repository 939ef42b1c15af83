"""A storage that is lost is rebuilt from what was written beside the runs."""

from pathlib import Path
from typing import Any

from ablate.config.search_space import Point, Tried
from ablate.sweep.recovery import recall, remember

PRUNED = {"pruned": "pruned at 25 % of the steps"}


def note(runs: Path, run: str, number: int, rate: float, **told: Any) -> None:
    remember(runs, "a search", Point(number, {"rate": rate}, [], {}), [run], told)


def recalled(runs: Path) -> list[Tried]:
    return [tried for _, tried in recall(runs, "a search", {}, "mean", ["score"])]


def test_a_storage_that_is_lost_twice_loses_no_point(tmp_path: Path) -> None:
    note(tmp_path, "a", 0, 0.1, **PRUNED)
    note(tmp_path, "b", 2, 0.2, **PRUNED)  # 1 was void: a storage that is rebuilt calls this 1
    note(tmp_path, "c", 2, 0.3, **PRUNED)
    note(tmp_path, "d", 3, 0.4, **PRUNED)
    assert [tried.params["rate"] for tried in recalled(tmp_path)] == [0.1, 0.2, 0.3, 0.4]


def test_a_point_that_was_asked_for_twice_is_recalled_once_with_what_was_told(
    tmp_path: Path,
) -> None:
    note(tmp_path, "a", 0, 0.1, **PRUNED)
    note(tmp_path, "b", 1, 0.2)  # lost with its process
    note(tmp_path, "b", 3, 0.2, **PRUNED, rungs={"25": 7.0})
    assert [tried.facts.get("rungs") for tried in recalled(tmp_path)] == [None, {"25": 7.0}]
