"""Packing the patches of a batch into one sequence of tokens."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ablate.model.packing import find_rows, join, join_segments, pack
from ablate.model.segments import Segments


@st.composite
def members(draw):
    """Memberships, bool (batch, patches), with at least one patch per sample."""
    batch, patches = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    drawn = draw(st.lists(st.booleans(), min_size=batch * patches, max_size=batch * patches))
    member = torch.tensor(drawn).view(batch, patches)
    guaranteed = draw(st.lists(st.integers(0, patches - 1), min_size=batch, max_size=batch))
    member[torch.arange(batch), torch.tensor(guaranteed)] = True
    return member


@given(members())
def test_packing_keeps_exactly_the_members_in_order(member):
    batch, patches = member.shape
    values = torch.arange(batch * patches, dtype=torch.float32).view(batch, patches, 1)
    packing = pack(member)
    expected = [values[sample, member[sample], 0] for sample in range(batch)]
    assert torch.equal(packing.gather(values).squeeze(1), torch.cat(expected))
    assert packing.segments.lengths == tuple(len(part) for part in expected)
    assert torch.equal(packing.owner * patches + packing.place, packing.index)


@given(members())
def test_joining_makes_the_two_parts_of_each_sample_adjacent(member):
    other = member.roll(1, dims=1)
    first, second = pack(member), pack(other)
    joined = join(first, second)
    rows = torch.cat([first.index, second.index + 1000])
    side_by_side = [
        row
        for sample in range(len(member))
        for row in [
            *first.index[first.owner == sample].tolist(),
            *(1000 + second.index[second.owner == sample]).tolist(),
        ]
    ]
    assert rows[joined.order].tolist() == side_by_side
    assert rows[joined.order][joined.second].tolist() == (second.index + 1000).tolist()
    assert joined.segments.num_tokens == first.segments.num_tokens + second.segments.num_tokens


@given(members())
def test_joining_keeps_self_exclusions(member):
    exclude_self = torch.arange(int(member.sum())) % 2 == 0
    first = Segments(pack(member).segments.lengths, exclude_self=exclude_self)
    lead = Segments((2,) * len(member))
    joined = join_segments(lead, first, torch.device("cpu"))
    assert torch.equal(joined.segments.exclude_self[joined.second], exclude_self)
    assert not joined.segments.exclude_self[joined.first].any()


@given(members())
def test_find_rows_locates_a_part_among_packed_patches(member):
    part = member & (torch.arange(member.shape[1]) % 2 == 0)
    packing = pack(member)
    assert torch.equal(packing.index[find_rows(part, member)], part.flatten().nonzero().squeeze(1))


def test_a_sample_without_a_patch_is_rejected():
    with pytest.raises(ValueError, match="every segment needs at least one token"):
        pack(torch.tensor([[True, False], [False, False]]))
