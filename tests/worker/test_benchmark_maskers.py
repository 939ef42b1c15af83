"""Drawing is timed beside a plain draw, and the loop draws the masks that it is a twin of."""

import pytest
import torch

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from ablate.worker.benchmarks.maskers import draw_blocks_one_by_one, time_maskers
from maskers import MultiBlock


def test_the_loop_draws_what_multi_block_masking_draws():
    grid, batch = Grid(8, 64), 600
    contexts, targets = draw_blocks_one_by_one(grid, batch, generator(0, "test"))
    mask = MultiBlock().draw(Clips.unpadded(grid, batch), generator(1, "test"))
    seen = torch.zeros(batch, grid.size, dtype=torch.bool)
    asked = torch.zeros(batch, 4, grid.size, dtype=torch.bool)
    for sample in range(batch):
        seen[sample, contexts[sample]] = True
        for block in range(4):
            asked[sample, block, targets[sample][block]] = True
    assert not (seen & asked.any(dim=1)).any()
    for mine, theirs in ((seen, mask.context), (asked, mask.targets)):
        assert mine.float().mean() == pytest.approx(float(theirs.float().mean()), abs=0.01)
        apart = (mine.float().mean(dim=0) - theirs.float().mean(dim=0)).abs()
        assert apart.max() < 0.12  # visit by visit, within sampling error


def test_every_masker_is_timed_or_refused():
    events = []
    maskers = [
        {"name": "Random", "settings": {"type": "maskers.Random"}},
        {"name": "broken", "settings": {"type": "maskers.Random", "ratio": 2.0}},
    ]
    found = time_maskers(maskers, Grid(2, 4), 4, events.append)
    good, bad = found["maskers"]
    assert good["refused"] is None
    assert good["ratio"] == pytest.approx(good["milliseconds"] / good["plain_milliseconds"])
    assert "must lie in [0, 1]" in bad["refused"]
    assert found["loop"]["milliseconds"] > 0
    assert [event["label"] for event in events] == ["Random", "broken"]


def test_the_number_of_threads_is_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        time_maskers([], Grid(1, 2), 1, lambda event: None)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
