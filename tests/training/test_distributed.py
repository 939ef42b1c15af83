"""Errors of a rank, and the time that ranks have to shut down."""

import os

import pytest
import torch
import torch.distributed as dist
from torch.distributed.launcher.api import LaunchConfig

from ablate.training.distributed import RankLostError, Ranks, build_torchrun_command


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (torch.AcceleratorError("an illegal memory access"), torch.AcceleratorError),
        (torch.OutOfMemoryError("tried to allocate 2 GiB"), torch.OutOfMemoryError),
        (RuntimeError("connection closed by peer"), RankLostError),
    ],
)
def test_an_error_of_the_own_device_is_not_reported_as_a_lost_rank(
    monkeypatch: pytest.MonkeyPatch, raised: RuntimeError, expected: type[RuntimeError]
) -> None:
    def fail(flat: torch.Tensor) -> None:
        raise raised

    monkeypatch.setattr(dist, "all_reduce", fail)
    with pytest.raises(RuntimeError) as caught:
        Ranks(rank=0, count=2).all_reduce([torch.zeros(3)])
    assert type(caught.value) is expected


@pytest.mark.skipif(
    "shutdown_timeout" not in LaunchConfig.__dataclass_fields__, reason="needs torch 2.12"
)
def test_stopped_ranks_have_five_minutes_to_save(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    build_torchrun_command(2, "ablate.worker", [])
    assert LaunchConfig(min_nodes=1, max_nodes=1, nproc_per_node=2).shutdown_timeout == 300
