"""Points are asked for and told by several takers at once, and none is lost with its taker."""

import math
import statistics
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ablate.config.search_space import Point, Tried, read_space
from ablate.config.tree import from_plain
from ablate.sweep.heartbeat import Presence, is_gone
from ablate.sweep.samplers import sampler_refused
from ablate.sweep.search import MOST_TRIES, Search
from ablate.sweep.storage import open_storage

X = {"low": 0.0, "high": 1.0}
Make = Callable[..., Search]
OPTIMUM = 0.397887
AXES = {"x": {"low": -5.0, "high": 10.0}, "y": {"low": 0.0, "high": 15.0}}
PLANE = read_space(from_plain(AXES, "here"))


def branin(point: Point) -> float:
    x, y = point.params["x"], point.params["y"]
    bend = y - 5.1 * x**2 / (4 * math.pi**2) + 5 * x / math.pi - 6
    return bend**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10


def asked(search: Search) -> Point:
    point = search.ask()
    assert point is not None
    return point


def test_a_search_gives_as_many_points_as_asked(search: Make) -> None:
    one = search({"x": X}, trials=3)
    for _ in range(3):
        one.tell(asked(one), [0.5], {})
    assert one.ask() is None
    assert one.is_over


def test_takers_share_one_count(search: Make) -> None:
    takers = [search({"x": X}, trials=3) for _ in range(3)]
    for taker in takers:
        asked(taker)
    assert [taker.ask() for taker in takers] == [None] * 3


def test_no_choice_is_asked_for_twice(search: Make) -> None:
    takers = [search({"x": [1, 2, 3], "y": ["a", "b"]}, trials=20) for _ in range(2)]
    params = [asked(takers[i % 2]).params for i in range(6)]
    assert len({tuple(p.values()) for p in params}) == 6
    assert takers[0].ask() is None  # there are no more


def test_a_part_brings_settings_of_its_own(search: Make) -> None:
    deep = {"type": "D", "space": {"layers": {"low": 1, "high": 4}}}
    one = search({"part": {"small": {"type": "S"}, "deep": deep}}, trials=5)
    found = {point.params["part"]: point for point in (asked(one) for _ in range(5))}
    assert [path for path, _ in found["small"].changes] == [("part",)]
    assert [path for path, _ in found["deep"].changes] == [("part",), ("part", "layers")]
    assert found["deep"].changes[0][1].plain() == {"type": "D"}
    assert 1 <= found["deep"].params["part[deep].layers"] <= 4


def test_a_failed_point_counts_as_tried(search: Make) -> None:
    one = search({"x": X}, trials=1)
    one.fail(asked(one), "nan: at step 7")
    [tried] = one.tried()
    assert (tried.values, tried.reason) == (None, "nan: at step 7")
    assert one.ask() is None


def test_a_point_that_is_given_back_is_asked_for_again(search: Make) -> None:
    one, other = search({"x": X}, trials=1), search({"x": X}, trials=1)
    point = asked(one)
    one.give_back(point, "interrupted")
    assert asked(other).params == point.params


def test_a_point_whose_taker_falls_silent_is_asked_for_again(search: Make) -> None:
    one, other = search({"x": X}, trials=1), search({"x": X}, trials=1, patience=0.0)
    point = asked(one)
    assert other.ask() is None  # seen for the first time
    assert asked(other).params == point.params


def test_a_taker_that_beats_keeps_its_point(search: Make) -> None:
    one = search({"x": X}, trials=1, presence=Presence(every=0.0))
    other = search({"x": X}, trials=1, patience=0.0)
    asked(one)
    for _ in range(3):
        one.beat()
        assert other.ask() is None


def test_what_a_silent_taker_tells_too_late_is_not_counted_twice(search: Make) -> None:
    one, other = search({"x": X}, trials=1), search({"x": X}, trials=1, patience=0.0)
    late = asked(one)
    other.ask()
    other.tell(asked(other), [1.0], {})
    one.tell(late, [1.0], {})
    assert [tried.values for tried in one.tried()] == [(1.0,)]


def test_a_point_that_kills_every_taker_is_given_up(search: Make) -> None:
    one = search({"x": X}, trials=1)
    for _ in range(MOST_TRIES):
        one.give_back(asked(one), "worker died (signal 9)")
    [tried] = one.tried()
    assert tried.reason == f"lost {MOST_TRIES} times; worker died (signal 9)"


def test_a_point_that_is_given_back_in_order_is_never_given_up(search: Make) -> None:
    one = search({"x": X}, trials=1)
    first = asked(one)
    one.give_back(first, "interrupted", in_order=True)
    for _ in range(MOST_TRIES - 1):
        one.give_back(asked(one), "worker died (signal 9)")
        one.give_back(asked(one), "interrupted", in_order=True)
    assert (asked(one).params, one.tried()) == (first.params, [])


def test_a_process_that_has_ended_is_known_to_be_gone() -> None:
    here = Presence().name
    machine, _, started, *rest = here.split(" ")
    assert not is_gone(here)
    assert is_gone(" ".join([machine, "999999999", started, *rest]))
    assert not is_gone(" ".join(["elsewhere", "999999999", started, *rest]))


def test_a_lost_storage_is_restored_from_what_was_remembered(search: Make, tmp_path: Path) -> None:
    one = search({"x": X, "y": [1, 2]}, trials=4)
    points = [asked(one) for _ in range(4)]
    for point in points[:3]:
        one.tell(point, [point.params["x"]], {"runs": ["a"]})
    one.fail(points[3], "nan")
    before = one.tried()
    (tmp_path / "sweep.journal").unlink()
    again = search({"x": X, "y": [1, 2]}, trials=4)
    again.restore([(p.distributions, t) for p, t in zip(points, before, strict=True)])
    assert again.tried() == before


def test_the_cost_is_to_be_small_and_the_score_large(search: Make) -> None:
    one = search({"x": X}, sampler="nsga2", objectives=("score", "cost.flops"))
    assert [direction.name for direction in one.study.directions] == ["MAXIMIZE", "MINIMIZE"]


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2", "cmaes", "gp"])
def test_every_sampler_gives_points(search: Make, sampler: str) -> None:
    if sampler_refused(sampler):
        pytest.skip("needs the package cmaes")
    one = search({"x": X, "n": {"low": 1, "high": 64, "log": True}}, sampler=sampler, trials=12)
    for _ in range(12):  # some draw the first ten by chance
        point = asked(one)
        one.tell(point, [point.params["x"]], {})
    assert len({tuple(tried.params.values()) for tried in one.tried()}) == 12


@pytest.mark.parametrize("sampler", ["tpe", "random", "qmc", "nsga2"])
def test_a_search_repeated_asks_for_the_same_points(tmp_path: Path, sampler: str) -> None:
    def points(journal: Path) -> list[dict[str, float]]:
        one = Search(
            open_storage(None, journal),
            "again",
            space=PLANE,
            trials=15,
            sampler=sampler,
            presence=Presence(),
        )
        while (point := one.ask()) is not None:
            one.tell(point, [-branin(point)], {})
        return [dict(tried.params) for tried in one.tried()]

    assert points(tmp_path / "one.journal") == points(tmp_path / "other.journal")


# eight threads share one list of what warns: what one silences, another may have put back
@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_eight_workers_find_the_minimum_of_branin(tmp_path: Path) -> None:
    bests, shares = [], []
    for seed in range(5):
        tried = minimised(tmp_path / f"{seed}.journal", seed)
        assert len(tried) == 60
        shares.append(len({tuple(t.params.values()) for t in tried}) / len(tried))
        bests.append(-max(t.values[0] for t in tried if t.values))
    assert min(shares) >= 0.9
    assert statistics.median(bests) - OPTIMUM <= 0.5


def minimised(journal: Path, seed: int) -> list[Tried]:
    """Has eight workers share sixty points."""

    def work(search: Search) -> None:
        while not search.is_over:
            if (point := search.ask()) is not None:
                search.tell(point, [-branin(point)], {})

    searches = [
        Search(
            open_storage(None, journal),
            "branin",
            space=PLANE,
            trials=60,
            seed=seed,
            presence=Presence(),
        )
        for _ in range(8)
    ]
    threads = [threading.Thread(target=work, args=(search,)) for search in searches]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return searches[0].tried()
