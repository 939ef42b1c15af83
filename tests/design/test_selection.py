"""Trials are selected by levels and seeds as people type them."""

import pytest

from ablate.design.selection import SelectionError, is_condition, parse_selection

FACTORS = {"masker": ("random", "block"), "optimizer.rate": ("0.001", "0.01")}


def test_conditions_may_be_written_apart_or_together() -> None:
    for texts in (
        ["masker=block", "seed=1"],
        ["masker=block seed=1"],
        ["seed=1,masker=block"],
    ):
        selection = parse_selection(texts, FACTORS, range(3))
        assert selection.fits({"masker": "block", "optimizer.rate": "0.01"}, 1)
        assert not selection.fits({"masker": "block"}, 2)
        assert not selection.fits({"masker": "random"}, 1)


def test_two_values_of_one_factor_are_alternatives_and_numbers_are_compared_as_numbers() -> None:
    selection = parse_selection(["seed=0", "seed=2", "optimizer.rate=1e-3"], FACTORS, range(3))
    fitting = [s for s in range(3) if selection.fits({"optimizer.rate": "0.001"}, s)]
    assert fitting == [0, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("maskr=block", "no factor `maskr` (did you mean `masker`?)"),
        ("masker=blok", "no level `blok` of `masker` (did you mean `block`?)"),
        ("seed=7", "no seed `7`; seeds: 0, 1, 2"),
        ("block", "expected FACTOR=LEVEL"),
    ],
)
def test_an_impossible_condition_is_an_error_that_lists_what_exists(
    text: str, message: str
) -> None:
    with pytest.raises(SelectionError) as error:
        parse_selection([text], FACTORS, range(3))
    assert message in str(error.value)


def test_a_setting_is_no_condition() -> None:
    assert is_condition("masker=block", FACTORS)
    assert is_condition("seed=0", FACTORS)
    assert not is_condition("masker={type: X}", FACTORS)
    assert not is_condition("budget.steps=3", FACTORS)
