"""Points recorded in run folders, from which a lost storage is rebuilt."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ablate.config.search_space import FinishedPoint, Point
from ablate.sweep.recovery import correct_points, find_sweep_runs, load_points, record_point

PRUNED = {"pruned": "pruned at 25 % of the steps"}


def point(number: int, rate: float, values: tuple[float, ...] | None, run: str) -> FinishedPoint:
    return FinishedPoint(number, {"rate": rate}, values, facts={"runs": [run]})


def record(runs: Path, run: str, number: int, rate: float, **end: Any) -> None:
    record_point(runs, "a search", Point(number, {"rate": rate}, [], {}), [run], **end)


def load(runs: Path) -> list[FinishedPoint]:
    return [tried for _, tried in load_points(runs, "a search", {}, "mean", ["score"])]


def test_a_storage_that_is_lost_twice_loses_no_point(tmp_path: Path) -> None:
    record(tmp_path, "a", 0, 0.1, **PRUNED)
    record(tmp_path, "b", 2, 0.2, **PRUNED)  # 1 was void: a storage that is rebuilt calls this 1
    record(tmp_path, "c", 2, 0.3, **PRUNED)
    record(tmp_path, "d", 3, 0.4, **PRUNED)
    assert [tried.params["rate"] for tried in load(tmp_path)] == [0.1, 0.2, 0.3, 0.4]


def test_a_damaged_point_is_passed_over_and_its_run_is_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record(tmp_path, "a", 0, 0.1, **PRUNED)
    record(tmp_path, "b", 1, 0.2, **PRUNED)
    [file] = tmp_path.glob("b/*/*.json")
    file.write_text(file.read_text().replace("0.2", "0.3"))
    assert [tried.params["rate"] for tried in load(tmp_path)] == [0.1]
    assert "does not match its checksum" in caplog.text
    assert find_sweep_runs(tmp_path, ["another"]) == {tmp_path / "b"}


def test_a_point_that_was_tried_twice_is_loaded_once_with_all_its_scores(tmp_path: Path) -> None:
    record(tmp_path, "a", 0, 0.1, **PRUNED)
    record(tmp_path, "b", 1, 0.2)  # lost with its process
    record(tmp_path, "b", 3, 0.2, **PRUNED, rungs={"25": 7.0})
    assert [tried.facts.get("rungs") for tried in load(tmp_path)] == [None, {"25": 7.0}]


@pytest.mark.parametrize(
    "stored",
    [
        point(3, 0.25, (61.0,), "a"),  # another score
        point(3, 0.75, (51.0,), "a"),  # another setting
        point(3, 0.25, None, "a"),  # without its score
    ],
)
def test_the_runs_of_a_point_correct_a_damaged_storage(
    stored: FinishedPoint, caplog: pytest.LogCaptureFixture
) -> None:
    recorded = [point(0, 0.25, (51.0,), "a"), point(1, 0.5, (42.0,), "b")]
    corrected = correct_points([stored, replace(recorded[1], number=4)], recorded, "a.journal")
    assert corrected == [replace(each, number=n) for each, n in zip(recorded, (3, 4), strict=True)]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("point 3 of the sweep: a.journal has ")


def test_points_whose_runs_were_deleted_are_read_from_the_storage() -> None:
    stored = [point(0, 0.25, (51.0,), "a"), FinishedPoint(1, {"rate": 0.1}, None, "no score")]
    assert correct_points(stored, [], "a.journal") == stored
