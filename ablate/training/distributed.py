"""Ranks: several processes that train one model, each on its part of every batch.

All start from the same weights and take the same steps, since gradients are summed before each
one; nothing but sums and a few counts is ever exchanged.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ablate.training.signals import SIGNALS

PATIENCE = timedelta(minutes=30)  # with a silent rank; one that has ended is noticed at once
SAVING_SECONDS = 300  # from a signal until ranks that are still there are killed
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # of which the ranks of a job meet at one


def together(count: int, module: str, arguments: Sequence[str]) -> list[str]:
    """Returns the command that runs a module as `count` ranks on this machine.

    It ends all of them where one ends before its time, and passes signals on to all. Sets in the
    environment how long they then have to save themselves.
    """
    # for torch 2.12 and later; before, it is 30 s for good. A user's own is kept
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SAVING_SECONDS))
    signals = ",".join(number.name for number in SIGNALS)
    ways = ["--standalone", f"--nproc-per-node={count}", f"--signals-to-handle={signals}"]
    return [sys.executable, "-m", "torch.distributed.run", *ways, "-m", module, *arguments]


def heed_slurm() -> None:
    """Sets in the environment what `torchrun` would, where `srun` has started several ranks.

    It changes nothing where `torchrun` has, or where there is one rank. The ranks meet at the node
    that the step was launched from, which is the first of its job and runs the first rank.
    """
    said = os.environ
    if "RANK" in said or int(said.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return
    said["RANK"], said["LOCAL_RANK"] = said["SLURM_PROCID"], said["SLURM_LOCALID"]
    said["WORLD_SIZE"] = said["SLURM_STEP_NUM_TASKS"]
    said.setdefault("MASTER_ADDR", said["SLURM_LAUNCH_NODE_IPADDR"])
    step = int(said["SLURM_JOB_ID"]) + int(said["SLURM_STEP_ID"])
    said.setdefault("MASTER_PORT", str(FIRST_PORT + step % NUM_PORTS))


def own_device(asked: str) -> torch.device:
    """Returns the device asked for; `cuda` alone is the GPU of a rank's own number."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if asked == "cuda" else asked)


class RankLostError(RuntimeError):
    """Another rank has ended, or has been silent for too long."""


class Ranks:
    """The processes that train one model, seen from one of them. Alone, it costs nothing.

    `rank` counts from 0, up to `count` - 1.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count
        self._counts: dist.ProcessGroup | None = None  # on the CPU: no device has to wait for it

    @classmethod
    def join(cls, device: torch.device) -> "Ranks":
        """Joins the others that `torchrun` has started; alone where it has started none.

        Gradients go by NCCL where `device` is a GPU. To be left with `leave`.
        """
        found = cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
        if found.count > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
            found._counts = dist.new_group(backend="gloo", timeout=PATIENCE)
        return found

    def leave(self) -> None:
        """Lets go of the others."""
        if self.count > 1:
            dist.destroy_process_group()

    def add_up(self, tensors: Iterable[Tensor]) -> None:
        """Replaces contiguous float32 tensors by their sums over all ranks, in one exchange.

        Every rank gives tensors of the same sizes in the same order. Raises `RankLostError`,
        and what this rank's own device raises.
        """
        if self.count == 1:
            return
        parts = [tensor.view(-1) for tensor in tensors]
        flat = torch.cat(parts)
        try:
            dist.all_reduce(flat)
        except (torch.AcceleratorError, torch.OutOfMemoryError):
            raise  # of this rank's own device
        except RuntimeError as error:
            raise _lost(error) from error
        torch._foreach_copy_(parts, list(torch.split(flat, [len(part) for part in parts])))

    def gather(self, values: Sequence[int]) -> list[list[int]]:
        """Returns what each rank gave, by rank: every one gives as many whole numbers.

        Raises `RankLostError`.
        """
        if self.count == 1:
            return [list(values)]
        mine = torch.tensor(values, dtype=torch.int64)
        every = [torch.empty_like(mine) for _ in range(self.count)]
        try:
            dist.all_gather(every, mine, group=self._counts)
        except RuntimeError as error:
            raise _lost(error) from error
        return [one.tolist() for one in every]


def _lost(error: RuntimeError) -> RankLostError:
    words = str(error).strip().splitlines()[0]
    return RankLostError(f"another rank has ended or is silent ({words}); its log says why")
