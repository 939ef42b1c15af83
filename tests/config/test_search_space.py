"""The search space of a sweep: how it is read, and how its points change a trial's settings."""

from typing import Any

import pytest
from pydantic import ValidationError

from ablate.config.search_space import (
    Range,
    apply_changes,
    count_points,
    draw,
    edge_points,
    list_points,
    read_space,
    space_to_plain,
)
from ablate.config.sweep import Sweep
from ablate.config.tree import from_plain
from ablate.config.validation import list_problems

RATE = {"low": 1e-4, "high": 1e-2, "log": True}
DEEP = {"type": "Deep", "space": {"layers": {"low": 1, "high": 4}}}


def read(plain: Any) -> dict[str, Any]:
    return read_space(from_plain(plain, "study.yaml:7"))


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (
            {"rate": {"low": 2, "high": 1}},
            "`space.rate` has low 2 and high 1; low must be less",
        ),
        ({"rate": {"low": 1, "high": 1}}, "low must be less"),
        ({"rate": {"low": 0.0, "high": 1.0, "log": True}}, "`low` must be above 0"),
        ({"rate": {"low": 1}}, "`space.rate.high` is missing: largest value, included"),
        ({"rate": {"low": "a", "high": 2}}, "`space.rate.low` must be a number; got 'a'"),
        ({"rate": {"low": True, "high": 2}}, "`space.rate.low` must be a number; got True"),
        (
            {"rate": {"low": 1, "high": 2, "lgo": True}},
            "unknown key `lgo` of `space.rate` (did you mean `lo",
        ),
        ({"rate": {"low": 1, "high": 2, "log": "yes"}}, "must be true or false; got 'yes'"),
        ({"rate": []}, "needs `low` and `high`, a list of different plain values, or"),
        ({"rate": [1, 1]}, "different plain values"),
        ({"rate": [{"type": "A"}]}, "`label: settings` of each"),
        ({"rate": 3}, "got 3"),
        ({}, "`space` must map settings to ranges or choices"),
        ({"a": {"x": {"type": "A"}}, "a.b": RATE}, "lies inside `a`; write it as its `space`"),
        (
            {"a": {"x": {"type": "A", "space": {"rate": {"low": 2, "high": 1}}}}},
            "`space.a.x.space.rate` has low 2 and high 1",
        ),
    ],
)
def test_an_invalid_space_is_reported_with_its_place(wrong: Any, expected: str) -> None:
    tree = from_plain({"space": wrong}, "study.yaml:7")
    with pytest.raises(ValidationError) as caught:
        Sweep.model_validate(tree.plain(keep=[("space",)]))
    lines = [*map(str, list_problems(caught.value, tree, Sweep))]
    assert any(line.startswith("study.yaml:7: ") and expected in line for line in lines), lines


def test_all_mistakes_of_a_space_are_reported_at_once() -> None:
    tree = from_plain({"space": {"a": 3, "b": {"low": 2, "high": 1}, "c": {"low": 1}}}, "here")
    with pytest.raises(ValidationError) as caught:
        Sweep.model_validate(tree.plain(keep=[("space",)]))
    assert len([*list_problems(caught.value, tree, Sweep)]) == 3


def test_a_range_is_of_integers_if_both_bounds_are_written_as_integers() -> None:
    space = read({"a": {"low": 1, "high": 4}, "b": {"low": 1, "high": 4.0}})
    kinds = [dimension.integer for dimension in space.values() if isinstance(dimension, Range)]
    assert kinds == [True, False]


def test_a_point_replaces_settings_and_keeps_the_others() -> None:
    space = read({"optimizer.rate": RATE, "predictor": {"deep": DEEP, "none": None}})
    answers = {"optimizer.rate": 0.005, "predictor": "deep", "predictor[deep].layers": 3}
    changes = draw(space, lambda name, dimension: answers[name])
    plain = {"optimizer": {"rate": 1, "decay": 2}, "predictor": {"type": "Joint", "dim": 64}}
    assert apply_changes(from_plain(plain, ""), changes).plain() == {
        "optimizer": {"rate": 0.005, "decay": 2},
        "predictor": {"type": "Deep", "layers": 3},
    }


def test_every_bound_and_every_choice_is_an_edge() -> None:
    space = read({"rate": RATE, "part": {"small": {"type": "S"}, "deep": DEEP}})
    names = [name for name, _ in edge_points(space)]
    inner = "part[deep].layers"
    assert names == ["rate", "rate", "part", "part", inner, inner]


def test_the_points_of_a_finite_space_are_counted() -> None:
    finite = read({"dim": [32, 64], "part": {"small": {"type": "S"}, "deep": DEEP}})
    assert count_points(finite) == 2 * (1 + 4)
    assert count_points(read({"dim": [32, 64], "rate": RATE})) is None


def test_the_points_of_a_finite_space_are_listed_once_each() -> None:
    finite = read({"dim": [32, 64], "part": {"small": {"type": "S"}, "deep": DEEP}})
    points = [tuple(params.items()) for params in list_points(finite)]
    assert len(set(points)) == len(points) == count_points(finite)
    assert (("dim", "32"), ("part", "small")) in points
    assert (("dim", "64"), ("part", "deep"), ("part[deep].layers", 4)) in points


def test_a_space_remembers_how_it_was_written() -> None:
    plain = {"rate": RATE, "part": {"deep": DEEP}}
    assert space_to_plain(read(plain)) == plain
