"""What a sweep may turn, read from text and put into a trial's settings."""

from typing import Any

import pytest

from ablate.config.search_space import Range, applied, draw, edges, every, read, size, written
from ablate.config.tree import from_plain

RATE = {"low": 1e-4, "high": 1e-2, "log": True}


def spaced(plain: Any) -> tuple[dict[str, Any], list[str]]:
    problems: list[str] = []
    return read(from_plain(plain, "study.yaml:7"), "sweep.space", problems), problems


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rate": {"low": 2, "high": 1}}, "has low 2 and high 1; low must be less"),
        ({"rate": {"low": 1, "high": 1}}, "low must be less"),
        ({"rate": {"low": 0.0, "high": 1.0, "log": True}}, "`low` must be above 0"),
        ({"rate": {"low": 1}}, "needs two numbers, `low` and `high`"),
        ({"rate": {"low": "a", "high": 2}}, "needs two numbers"),
        (
            {"rate": {"low": 1, "high": 2, "lgo": True}},
            "unknown key `lgo` of `sweep.space.rate` (did",
        ),
        ({"rate": {"low": 1, "high": 2, "log": "yes"}}, "must be true or false; got 'yes'"),
        ({"rate": []}, "needs `low` and `high`, a list of different plain values, or"),
        ({"rate": [1, 1]}, "different plain values"),
        ({"rate": [{"type": "A"}]}, "`label: settings` of each"),
        ({"rate": 3}, "got 3"),
        ({}, "must map settings to ranges or choices"),
        ({"a": {"x": {"type": "A"}}, "a.b": RATE}, "lies inside `a`; write it as its `space`"),
    ],
)
def test_a_space_that_is_none_is_refused_with_its_place(wrong: Any, said: str) -> None:
    _, problems = spaced(wrong)
    assert any(problem.startswith("study.yaml:7: ") and said in problem for problem in problems)


def test_a_range_is_whole_where_both_ends_are_written_whole() -> None:
    space, _ = spaced({"a": {"low": 1, "high": 4}, "b": {"low": 1, "high": 4.0}})
    kinds = [dimension.integer for dimension in space.values() if isinstance(dimension, Range)]
    assert kinds == [True, False]


def test_a_point_replaces_settings_and_leaves_the_others() -> None:
    deep = {"type": "Deep", "space": {"layers": {"low": 1, "high": 4}}}
    space, _ = spaced({"optimizer.rate": RATE, "predictor": {"deep": deep, "none": None}})
    answers = {"optimizer.rate": 0.005, "predictor": "deep", "predictor[deep].layers": 3}
    changes = draw(space, lambda name, dimension: answers[name])
    plain = {"optimizer": {"rate": 1, "decay": 2}, "predictor": {"type": "Joint", "dim": 64}}
    assert applied(from_plain(plain, ""), changes).plain() == {
        "optimizer": {"rate": 0.005, "decay": 2},
        "predictor": {"type": "Deep", "layers": 3},
    }


def test_every_end_and_every_choice_is_an_edge() -> None:
    deep = {"type": "Deep", "space": {"layers": {"low": 1, "high": 4}}}
    space, _ = spaced({"rate": RATE, "part": {"small": {"type": "S"}, "deep": deep}})
    found = [name for name, _ in edges(space)]
    inner = "part[deep].layers"
    assert found == ["rate", "rate", "part", "part", inner, inner]


def test_the_points_of_a_finite_space_are_counted() -> None:
    deep = {"type": "Deep", "space": {"layers": {"low": 1, "high": 4}}}
    finite, _ = spaced({"dim": [32, 64], "part": {"small": {"type": "S"}, "deep": deep}})
    assert size(finite) == 2 * (1 + 4)
    assert size(spaced({"dim": [32, 64], "rate": RATE})[0]) is None


def test_the_points_of_a_finite_space_are_listed_once_each() -> None:
    deep = {"type": "Deep", "space": {"layers": {"low": 1, "high": 4}}}
    finite, _ = spaced({"dim": [32, 64], "part": {"small": {"type": "S"}, "deep": deep}})
    points = [tuple(params.items()) for params in every(finite)]
    assert len(set(points)) == len(points) == size(finite)
    assert (("dim", "32"), ("part", "small")) in points
    assert (("dim", "64"), ("part", "deep"), ("part[deep].layers", 4)) in points


def test_a_space_remembers_how_it_was_written() -> None:
    deep = {"type": "Deep", "space": {"layers": {"low": 1, "high": 4}}}
    plain = {"rate": RATE, "part": {"deep": deep}}
    assert written(spaced(plain)[0]) == plain
