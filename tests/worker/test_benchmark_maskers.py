"""Maskers are timed against a plain draw; the loop over samples draws the same kind of masks."""

import pytest
import torch

from ablate.core.random import generator
from ablate.core.records.benchmarks import MaskerTimingsRequest, NamedMasker
from ablate.model.masking import Clips, Grid
from ablate.worker.benchmarks.maskers import draw_blocks_one_by_one, time_maskers
from maskers import MultiBlock


def test_the_loop_draws_what_multi_block_masking_draws():
    grid, batch = Grid(8, 64), 600
    contexts, targets = draw_blocks_one_by_one(grid, batch, generator(0, "test"))
    mask = MultiBlock().draw(Clips.unpadded(grid, batch), generator(1, "test"))
    seen = torch.zeros(batch, grid.size, dtype=torch.bool)
    target_blocks = torch.zeros(batch, 4, grid.size, dtype=torch.bool)
    for sample in range(batch):
        seen[sample, contexts[sample]] = True
        for block in range(4):
            target_blocks[sample, block, targets[sample][block]] = True
    assert not (seen & target_blocks.any(dim=1)).any()
    for looped, vectorised in ((seen, mask.context), (target_blocks, mask.targets)):
        assert looped.float().mean() == pytest.approx(float(vectorised.float().mean()), abs=0.01)
        apart = (looped.float().mean(dim=0) - vectorised.float().mean(dim=0)).abs()
        assert apart.max() < 0.12  # per patch, within sampling error


def test_every_masker_is_timed_or_has_a_reason():
    events = []
    maskers = (
        NamedMasker(name="Random", settings={"type": "maskers.Random"}),
        NamedMasker(name="broken", settings={"type": "maskers.Random", "ratio": 2.0}),
    )
    request = MaskerTimingsRequest(maskers=maskers, grid=(2, 4), batch=4)
    reply = time_maskers(request, events.append)
    good, bad = reply.maskers
    assert good.problem is None
    assert good.ratio == pytest.approx(good.milliseconds / good.plain_milliseconds)
    assert "must lie in [0, 1]" in bad.problem
    assert reply.loop.milliseconds > 0
    assert [event.label for event in events] == ["Random", "broken"]


def test_the_number_of_threads_is_restored():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        request = MaskerTimingsRequest(maskers=(), grid=(1, 2), batch=1)
        time_maskers(request, lambda progress: None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_maskers_declared_slow_are_skipped_unless_requested():
    maskers = (NamedMasker(name="slow", settings={"type": "maskers.PoissonDisk"}),)
    skipped, timed = (
        time_maskers(
            MaskerTimingsRequest(maskers=maskers, grid=(2, 4), batch=4, slow=slow, loop=False),
            lambda progress: None,
        )
        for slow in (False, True)
    )
    assert skipped.maskers[0].ratio is None
    assert skipped.maskers[0].slow
    assert timed.maskers[0].ratio > 0
    assert skipped.loop is None
