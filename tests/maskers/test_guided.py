"""Masks guided by attention or loss hide what their definitions say."""

import pytest
import torch

from ablate.core.random import generator
from ablate.model.masking import Clips, Grid
from maskers import AttentionGuided, HardPatches, LossWeighted, UnionComplement

GRID = Grid(4, 10)


def draw(masker, content, progress=0.0):
    clips = Clips.unpadded(GRID, len(content), progress=progress, content=content.unsqueeze(-1))
    return masker.draw(clips, generator(0, "mask"))


def draw_content(clips=400):
    return torch.rand(clips, GRID.size, generator=generator(1, "content"))


def rank(content):
    """Returns the rank of each patch, 0 for the highest."""
    return (-content).argsort(dim=1).argsort(dim=1)


@pytest.mark.parametrize("hide", ["high", "low"])
def test_the_most_or_the_least_attended_patches_are_hidden(hide):
    content = draw_content()
    mask = draw(AttentionGuided(ratio=0.3, hide=hide), content)
    ranks = rank(content if hide == "high" else -content)
    assert torch.equal(mask.target_union, ranks < 12)


def test_hints_are_drawn_from_the_most_attended_patches():
    content = draw_content(4000)
    mask = draw(AttentionGuided(ratio=0.5, hide="hints", top=0.1), content)
    ranks = rank(content)
    assert (mask.context[ranks < 20].view(4000, -1).sum(dim=1) == 2).all()  # 0.5 of 0.1 of 40
    assert not (mask.context & (ranks >= 4) & (ranks < 20)).any()
    assert mask.context[ranks >= 20].all()
    shares = mask.context[ranks < 4].float().mean()
    assert shares == pytest.approx(0.5)
    first = (mask.context & (ranks == 0)).any(dim=1).float().mean()
    assert first == pytest.approx(0.5, abs=0.04)


def test_a_share_of_the_samples_is_not_guided():
    content = draw_content(4000)
    mask = draw(AttentionGuided(ratio=0.3, hide="high", probability=0.4), content)
    is_guided = (mask.target_union == (rank(content) < 12)).all(dim=1)
    assert is_guided.float().mean() == pytest.approx(0.4, abs=0.04)
    assert (mask.target_union.sum(dim=1) == 12).all()
    others = mask.target_union[~is_guided].float().mean(dim=0)
    assert (others - 0.3).abs().max() < 0.06


@pytest.mark.parametrize(("progress", "num_hard"), [(0.0, 0), (0.5, 7), (1.0, 15)])
def test_ever_more_of_the_hidden_patches_are_those_of_highest_loss(progress, num_hard):
    content = draw_content(4000)
    mask = draw(HardPatches(ratio=0.75, hard=(0.0, 0.5)), content, progress)
    ranks = rank(content)
    assert (mask.target_union.sum(dim=1) == 30).all()
    assert mask.target_union[ranks < num_hard].all()
    others = mask.target_union[ranks >= num_hard].float().mean()
    assert others == pytest.approx((30 - num_hard) / (40 - num_hard))
    last = (mask.target_union & (ranks == 39)).any(dim=1).float().mean()
    assert last == pytest.approx((30 - num_hard) / (40 - num_hard), abs=0.04)


@pytest.mark.parametrize("part", ["context", "targets"])
def test_patches_are_drawn_in_proportion_to_their_loss(part):
    losses = torch.tensor([1.0, 2.0, 3.0, 6.0])
    ratio = 0.75 if part == "context" else 0.25
    clips = Clips.unpadded(Grid(1, 4), 40_000, content=losses.expand(40_000, -1).unsqueeze(-1))
    mask = LossWeighted(ratio=ratio, draw_in_proportion=part).draw(clips, generator(0, "mask"))
    drawn = mask.context if part == "context" else mask.target_union
    assert drawn.sum(dim=1).eq(1).all()
    assert torch.allclose(drawn.float().mean(dim=0), losses / 12, atol=0.0125)


def test_blocks_of_their_own_size_cover_as_much_as_blocks_drawn_one_by_one():
    settings = {"area": (0.05, 0.6), "aspect": (0.5, 2.0)}
    clips = Clips.unpadded(Grid(8, 24), 4000)

    def hide(number, seed, **others):
        masker = UnionComplement(num_blocks=number, **settings, **others)
        return masker.draw(clips, generator(seed, "mask")).target_union

    together = hide(2, 0, sizes="block").sum(dim=1).float()
    one_by_one = (hide(1, 1) | hide(1, 2)).sum(dim=1).float()
    shared = hide(2, 3).sum(dim=1).float()
    for moment in (torch.mean, torch.std):
        assert moment(together) == pytest.approx(moment(one_by_one).item(), rel=0.08)
    assert shared.std() > 1.15 * together.std()
