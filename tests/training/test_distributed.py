"""Ranks of one machine, seen from one of them."""

import os

import pytest
import torch
import torch.distributed as dist
from torch.distributed.launcher.api import LaunchConfig

from ablate.training.distributed import RankLostError, Ranks, together


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.AcceleratorError("an illegal memory access"), torch.AcceleratorError),
        (torch.OutOfMemoryError("2 GiB asked for"), torch.OutOfMemoryError),
        (RuntimeError("connection closed by peer"), RankLostError),
    ],
)
def test_what_a_rank_s_own_device_raises_is_not_taken_for_a_lost_rank(
    monkeypatch: pytest.MonkeyPatch, raised: RuntimeError, expected: type[RuntimeError]
) -> None:
    def fails(flat: torch.Tensor) -> None:
        raise raised

    monkeypatch.setattr(dist, "all_reduce", fails)
    with pytest.raises(RuntimeError) as caught:
        Ranks(rank=0, count=2).add_up([torch.zeros(3)])
    assert type(caught.value) is expected


@pytest.mark.skipif(
    "shutdown_timeout" not in LaunchConfig.__dataclass_fields__, reason="needs torch 2.12"
)
def test_ranks_that_are_told_to_stop_have_minutes_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    together(2, "ablate.worker", [])
    assert LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2).shutdown_timeout == 300
