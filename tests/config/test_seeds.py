"""Seeds of their own for each purpose: which trials they give, and what is refused."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.config.seeds import SeparateSeeds
from ablate.core.seeds import build_seed_settings
from tests.config.conftest import STUDY, problems

SEEDS = st.lists(st.integers(0, 30), min_size=2, max_size=4, unique=True)


@given(init=SEEDS, order=SEEDS, masks=st.integers(0, 9), crossed=st.booleans())
def test_trials_without_a_shared_seed_come_first_and_crossed_ones_are_all_combinations(
    *, init: list[int], order: list[int], masks: int, crossed: bool
) -> None:
    size = min(len(init), len(order))
    if not crossed:
        init, order = init[:size], order[:size]
    keys = {"init": init, "order": order}
    separate = SeparateSeeds.model_validate({**keys, "masks": masks, "crossed": crossed})
    trials = list(separate.get_purposes().values())
    assert {trial["masks"] for trial in trials} == {masks}
    for purpose in ("init", "order"):
        assert len({trial[purpose] for trial in trials[: separate.num_paired]}) == size
    pairs = [(trial["init"], trial["order"]) for trial in trials]
    wanted = itertools.product(init, order) if crossed else zip(*keys.values(), strict=True)
    assert sorted(pairs) == sorted(wanted)


def test_purposes_with_one_seed_give_the_trial_of_a_plain_study() -> None:
    assert build_seed_settings({"init": 3, "order": 3, "masks": 3, "probe": 3}) == {"seed": 3}
    assert build_seed_settings({"init": 3, "order": 0, "masks": 3}) == {"seed": 3, "order_seed": 0}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{init: 0, order: 0, masks: 0}", "`seeds` varies nothing: give a purpose a list"),
        ("{init: [0, 1], order: [0, 1, 2], masks: 0}", "need one length, unless `crossed: true`"),
        ("{init: [0, 1], order: 0, masks: 0, crossed: true}", "got lists of init"),
        ("{init: 0, order: 0, masks: 0, probe: [0, 1]}", "give the probe `seeds: 5`"),
        ("{init: [0, 0], order: 0, masks: 0}", "two or more different ones; got [0, 0]"),
        (
            "{init: [0, 1], ordr: 0, masks: 0}",
            "unknown key `ordr` of `seeds` (did you mean",
        ),
        ("{init: [0, 1], order: 0}", "`seeds.masks` is missing: seeds of the masks"),
        (
            "{init: [0, 1], order: 0, masks: 0}\nconfirm: {top: 1, seeds: 2}",
            "`confirm` needs",
        ),
    ],
)
def test_seeds_that_make_no_sense_are_rejected_with_a_remedy(
    folder: Path, written: str, message: str
) -> None:
    lines = problems(STUDY.replace("seeds: 3", f"seeds: {written}", 1))
    assert any(message in line for line in lines), lines
