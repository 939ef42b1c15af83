"""Each rank of each worker has a GPU of its own, if there are enough."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ablate.core.cores import count_cores
from ablate.executors.devices import assign_devices

counts = st.integers(1, 9)


def list_gpus(device: str, ranks: int) -> set[int]:
    first = int(device.removeprefix("cuda:"))
    return set(range(first, first + ranks))


@given(counts, counts)
def test_every_rank_of_every_worker_has_a_gpu_of_its_own(gpus: int, ranks: int) -> None:
    if ranks > gpus:
        with pytest.raises(
            ValueError, match=f"{ranks} ranks need one GPU each; this machine has {gpus}"
        ):
            assign_devices(gpus, None, ranks)
        return
    each = [list_gpus(device, ranks) for device in assign_devices(gpus, None, ranks)]
    assert len(each) == gpus // ranks
    assert sum(map(len, each)) == len(set().union(*each))
    assert set().union(*each) <= set(range(gpus))


@given(counts, counts, st.data())
def test_more_workers_than_gpus_share_them(gpus: int, size: int, data) -> None:
    ranks = data.draw(st.integers(1, gpus))
    devices = assign_devices(gpus, size, ranks)
    assert len(devices) == size
    assert all(list_gpus(device, ranks) <= set(range(gpus)) for device in devices)


@given(counts)
def test_without_a_gpu_ranks_share_cores(ranks: int) -> None:
    assert assign_devices(0, None, ranks) == ["cpu"] * max(1, count_cores() // ranks)
    assert assign_devices(0, 3, ranks) == ["cpu"] * 3
