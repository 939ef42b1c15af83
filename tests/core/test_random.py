"""The doors of chance."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.random import Chance, derive, generator


def test_one_key_gives_one_stream():
    first, second = (torch.rand(5, generator=generator(3, "mask", 7)) for _ in range(2))
    assert torch.equal(first, second)


def test_seeds_names_and_steps_give_streams_of_their_own():
    keys = [(seed, name, step) for seed in range(5) for name in ("a", "b") for step in range(50)]
    assert len({derive(*key) for key in keys}) == len(keys)


def test_a_key_is_not_the_string_of_its_pieces():
    assert derive(1, "a", "b") != derive(1, "ab")
    assert derive(11, "a") != derive(1, "1a")


def test_a_derived_seed_never_changes():
    """It decides every published number: a new value would silently change them all."""
    assert derive(0, "mask", 0) == 4062739671940811604


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 3))
def test_a_slice_of_a_batch_draws_what_the_whole_would(first, clips, copies):
    whole = Chance(seed=1, step=5).uniform(80 * copies, "use", copies=copies)
    part = Chance(seed=1, step=5, first=first).uniform(clips * copies, "use", copies=copies)
    assert torch.equal(part, whole[first * copies : (first + clips) * copies])
