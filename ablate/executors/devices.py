"""Assigns a device to each worker of a machine."""

from ablate.core.cores import count_cores


def assign_devices(num_gpus: int, num_workers: int | None, num_ranks: int) -> list[str]:
    """Returns the device of each worker: that of its first rank; the other ranks use the next ones.

    Args:
        num_gpus: GPUs of the machine.
        num_workers: workers to start; by default one per GPU, or per CPU core, divided by the
            number of ranks.
        num_ranks: processes that train one trial together.

    Raises:
        ValueError: the ranks of a trial cannot have a GPU each.
    """
    if 0 < num_gpus < num_ranks:
        raise ValueError(f"{num_ranks} ranks need one GPU each; this machine has {num_gpus}")
    slots = max(1, (num_gpus or count_cores()) // num_ranks)
    count = num_workers or slots
    return [f"cuda:{index % slots * num_ranks}" if num_gpus else "cpu" for index in range(count)]
