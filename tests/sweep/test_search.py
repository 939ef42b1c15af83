"""Searches: points are shared between processes, and none is lost with its process."""

import math
import statistics
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.config.search_space import FinishedPoint, Point, read_space
from ablate.config.tree import from_plain
from ablate.sweep.heartbeat import SweepProcess, has_ended
from ablate.sweep.samplers import find_sampler_problem
from ablate.sweep.search import MOST_TRIES, Search
from ablate.sweep.storage import open_storage

X = {"low": 0.0, "high": 1.0}
Make = Callable[..., Search]
OPTIMUM = 0.397887
AXES = {"x": {"low": -5.0, "high": 10.0}, "y": {"low": 0.0, "high": 15.0}}
PLANE = read_space(from_plain(AXES, "study.yaml"))


def branin(point: Point) -> float:
    x, y = point.params["x"], point.params["y"]
    bend = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def draw_point(search: Search) -> Point:
    point = search.next_point()
    assert point is not None
    return point


def test_a_search_returns_as_many_points_as_requested(search: Make) -> None:
    one = search({"x": X}, trials=3)
    for _ in range(3):
        one.complete(draw_point(one), [0.5], {})
    assert one.next_point() is None
    assert one.is_finished


def test_processes_share_the_number_of_points(search: Make) -> None:
    searches = [search({"x": X}, trials=3) for _ in range(3)]
    for each in searches:
        draw_point(each)
    assert [each.next_point() for each in searches] == [None] * 3


def test_no_point_is_drawn_twice(search: Make) -> None:
    searches = [search({"x": [1, 2, 3], "y": ["a", "b"]}, trials=20) for _ in range(2)]
    params = [draw_point(searches[i % 2]).params for i in range(6)]
    assert len({tuple(p.values()) for p in params}) == 6
    assert searches[0].next_point() is None  # there are no more


def test_a_part_adds_its_own_dimensions(search: Make) -> None:
    deep = {"type": "D", "space": {"layers": {"low": 1, "high": 4}}}
    one = search({"part": {"small": {"type": "S"}, "deep": deep}}, trials=5)
    drawn = {point.params["part"]: point for point in (draw_point(one) for _ in range(5))}
    assert [path for path, _ in drawn["small"].changes] == [("part",)]
    assert [path for path, _ in drawn["deep"].changes] == [("part",), ("part", "layers")]
    assert drawn["deep"].changes[0][1].plain() == {"type": "D"}
    assert 1 <= drawn["deep"].params["part[deep].layers"] <= 4


def test_a_failed_point_counts_as_evaluated(search: Make) -> None:
    one = search({"x": X}, trials=1)
    one.fail(draw_point(one), "nan: at step 7")
    [tried] = one.list_finished()
    assert (tried.values, tried.reason) == (None, "nan: at step 7")
    assert one.next_point() is None


def test_a_released_point_is_drawn_again(search: Make) -> None:
    one, other = search({"x": X}, trials=1), search({"x": X}, trials=1)
    point = draw_point(one)
    one.release(point, "interrupted")
    assert draw_point(other).params == point.params


def test_the_point_of_a_silent_process_is_drawn_again(search: Make) -> None:
    one, other = search({"x": X}, trials=1), search({"x": X}, trials=1, patience=0.0)
    point = draw_point(one)
    assert other.next_point() is None  # first sight of the process
    assert draw_point(other).params == point.params


def test_a_process_with_heartbeats_keeps_its_point(search: Make) -> None:
    one = search({"x": X}, trials=1, process=SweepProcess(interval=0.0))
    other = search({"x": X}, trials=1, patience=0.0)
    draw_point(one)
    for _ in range(3):
        one.write_heartbeat()
        assert other.next_point() is None


def test_a_late_result_of_a_silent_process_is_not_counted_twice(search: Make) -> None:
    one, other = search({"x": X}, trials=1), search({"x": X}, trials=1, patience=0.0)
    late = draw_point(one)
    other.next_point()
    other.complete(draw_point(other), [1.0], {})
    one.complete(late, [1.0], {})
    assert [tried.values for tried in one.list_finished()] == [(1.0,)]


def test_a_point_that_kills_every_process_fails(search: Make) -> None:
    one = search({"x": X}, trials=1)
    for _ in range(MOST_TRIES):
        one.release(draw_point(one), "worker died (signal 9)")
    [tried] = one.list_finished()
    assert tried.reason == f"lost {MOST_TRIES} times; worker died (signal 9)"


def test_releasing_a_point_on_request_uses_no_try(search: Make) -> None:
    one = search({"x": X}, trials=1)
    first = draw_point(one)
    one.release(first, "interrupted", requested=True)
    for _ in range(MOST_TRIES - 1):
        one.release(draw_point(one), "worker died (signal 9)")
        one.release(draw_point(one), "interrupted", requested=True)
    assert (draw_point(one).params, one.list_finished()) == (first.params, [])


def test_an_ended_process_of_this_machine_is_detected() -> None:
    name = SweepProcess().name
    machine, _, started, *rest = name.split(" ")
    assert not has_ended(name)
    assert has_ended(" ".join([machine, "999999999", started, *rest]))
    assert not has_ended(" ".join(["elsewhere", "999999999", started, *rest]))


def test_a_lost_storage_is_restored_from_records(search: Make, tmp_path: Path) -> None:
    one = search({"x": X, "y": [1, 2]}, trials=4)
    points = [draw_point(one) for _ in range(4)]
    for point in points[:3]:
        one.complete(point, [point.params["x"]], {"runs": ["a"]})
    one.fail(points[3], "nan")
    before = one.list_finished()
    (tmp_path / "sweep.journal").unlink()
    again = search({"x": X, "y": [1, 2]}, trials=4)
    again.restore([(p.distributions, t) for p, t in zip(points, before, strict=True)])
    assert again.list_finished() == before


def test_the_score_is_maximised_and_the_cost_minimised(search: Make) -> None:
    one = search({"x": X}, sampler="nsga2", objectives=("score", "cost.flops"))
    assert [direction.name for direction in one.study.directions] == ["MAXIMIZE", "MINIMIZE"]


def test_samplers_know_how_far_a_cost_exceeds_its_bound(search: Make) -> None:
    one = search({"x": X}, trials=1, bounds={"cost.flops": 10.0, "cost.seconds": 3.0})
    one.complete(draw_point(one), [0.5], {"flops": 12.0})  # seconds were not recorded
    [trial] = one.study.get_trials()
    assert trial.system_attrs["constraints:cost.flops"] == 2.0
    assert "constraints:cost.seconds" not in trial.system_attrs


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2", "cmaes", "gp"])
def test_every_sampler_draws_points(search: Make, sampler: str) -> None:
    if find_sampler_problem(sampler):
        pytest.skip("needs the package cmaes")
    one = search({"x": X, "n": {"low": 1, "high": 64, "log": True}}, sampler=sampler, trials=12)
    for _ in range(12):  # some samplers draw the first ten at random
        point = draw_point(one)
        one.complete(point, [point.params["x"]], {})
    assert len({tuple(tried.params.values()) for tried in one.list_finished()}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2"])
def test_a_repeated_search_draws_the_same_points(tmp_path: Path, sampler: str) -> None:
    def points(journal: Path) -> list[dict[str, float]]:
        one = Search(
            open_storage(None, journal),
            "again",
            space=PLANE,
            trials=15,
            sampler=sampler,
            process=SweepProcess(),
        )
        while (point := one.next_point()) is not None:
            one.complete(point, [-branin(point)], {})
        return [dict(tried.params) for tried in one.list_finished()]

    assert points(tmp_path / "one.journal") == points(tmp_path / "other.journal")


# warning filters are shared by threads, so one thread may restore what another silenced
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_eight_workers_find_the_minimum_of_branin(tmp_path: Path) -> None:
    bests, shares = [], []
    for seed in range(5):
        tried = minimise(tmp_path / f"{seed}.journal", seed)
        assert len(tried) == 60
        shares.append(len({tuple(t.params.values()) for t in tried}) / len(tried))
        bests.append(-max(t.values[0] for t in tried if t.values))
    assert min(shares) >= 0.9
    assert statistics.median(bests) - OPTIMUM <= 0.5


def minimise(journal: Path, seed: int) -> list[FinishedPoint]:
    """Evaluates sixty points in eight threads."""

    def work(search: Search) -> None:
        while not search.is_finished:
            if (point := search.next_point()) is not None:
                search.complete(point, [-branin(point)], {})

    searches = [
        Search(
            open_storage(None, journal),
            "branin",
            space=PLANE,
            trials=60,
            seed=seed,
            process=SweepProcess(),
        )
        for _ in range(8)
    ]
    threads = [threading.Thread(target=work, args=(search,)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return searches[0].list_finished()
