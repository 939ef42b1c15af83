"""Distributed training: ranks that train one model, each on its part of every batch.

All ranks start from the same weights and sum their gradients before each step, so they stay equal.
Only gradients, running sums and a few counts are exchanged.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

from ablate.training.signals import SIGNALS

TIMEOUT = timedelta(minutes=30)  # for a silent rank; one that has exited is noticed at once
SHUTDOWN_SECONDS = 300  # from a signal until torchrun kills ranks that are still running
FIRST_PORT, NUM_PORTS = 20_000, 10_000  # range of the port at which the ranks of a job meet


def build_torchrun_command(count: int, module: str, arguments: Sequence[str]) -> list[str]:
    """Builds the command that runs a Python module as `count` ranks on this machine.

    torchrun stops all ranks if one fails, and forwards signals to all of them. This also sets
    `TORCH_ELASTIC_SHUTDOWN_TIMEOUT`, unless set, so that ranks have time to save their state.
    """
    # read by torch 2.12 and later; earlier versions always wait 30 s
    os.environ.setdefault("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", str(SHUTDOWN_SECONDS))
    signals = ",".join(number.name for number in SIGNALS)
    options = ["--standalone", f"--nproc-per-node={count}", f"--signals-to-handle={signals}"]
    return [sys.executable, "-m", "torch.distributed.run", *options, "-m", module, *arguments]


def set_ranks_from_slurm() -> None:
    """Sets the environment variables of `torchrun` if `srun` has started several ranks.

    Does nothing if `torchrun` has set them, or for a single rank. The ranks meet at the node that
    launched the step: the first node of the job, which also runs rank 0.
    """
    environ = os.environ
    if "RANK" in environ or int(environ.get("SLURM_STEP_NUM_TASKS", "1")) == 1:
        return
    environ["RANK"], environ["LOCAL_RANK"] = environ["SLURM_PROCID"], environ["SLURM_LOCALID"]
    environ["WORLD_SIZE"] = environ["SLURM_STEP_NUM_TASKS"]
    environ.setdefault("MASTER_ADDR", environ["SLURM_LAUNCH_NODE_IPADDR"])
    step = int(environ["SLURM_JOB_ID"]) + int(environ["SLURM_STEP_ID"])
    environ.setdefault("MASTER_PORT", str(FIRST_PORT + step % NUM_PORTS))


def get_rank_device(name: str) -> torch.device:
    """Returns the device of that name; plain `cuda` means the GPU with this rank's local number."""
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)


class RankLostError(RuntimeError):
    """Another rank has exited or has not answered in time."""


class Ranks:
    """The processes that train one model, as seen from one of them; free of cost for one process.

    Attributes:
        rank: Number of this process, from 0 to `count` - 1.
        count: Number of processes.
    """

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank = rank
        self.count = count
        self._cpu_group: dist.ProcessGroup | None = None  # for counts: no device has to wait

    @classmethod
    def join(cls, device: torch.device) -> "Ranks":
        """Joins the ranks that `torchrun` has started; without torchrun, returns a single rank.

        Gradients are exchanged by NCCL if `device` is a GPU. Call `leave` at the end.
        """
        ranks = cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
        if ranks.count > 1:
            dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
            ranks._cpu_group = dist.new_group(backend="gloo", timeout=TIMEOUT)
        return ranks

    def leave(self) -> None:
        """Disconnects from the other ranks."""
        if self.count > 1:
            dist.destroy_process_group()

    def all_reduce(self, tensors: Iterable[Tensor]) -> None:
        """Replaces contiguous float32 tensors by their sums over all ranks, in one exchange.

        Every rank must pass tensors of the same sizes in the same order. Raises `RankLostError` if
        another rank is lost, and the errors of this rank's own device.
        """
        if self.count == 1:
            return
        parts = [tensor.view(-1) for tensor in tensors]
        flat = torch.cat(parts)
        try:
            dist.all_reduce(flat)
        except (torch.AcceleratorError, torch.OutOfMemoryError):
            raise  # an error of this rank's own device
        except RuntimeError as error:
            raise _rank_lost(error) from error
        torch._foreach_copy_(parts, list(torch.split(flat, [len(part) for part in parts])))

    def all_gather(self, values: Sequence[int]) -> list[list[int]]:
        """Returns the values of every rank, in order of rank.

        Every rank must pass the same number of integers. Raises `RankLostError`.
        """
        if self.count == 1:
            return [list(values)]
        own = torch.tensor(values, dtype=torch.int64)
        gathered = [torch.empty_like(own) for _ in range(self.count)]
        try:
            dist.all_gather(gathered, own, group=self._cpu_group)
        except RuntimeError as error:
            raise _rank_lost(error) from error
        return [tensor.tolist() for tensor in gathered]


def _rank_lost(error: RuntimeError) -> RankLostError:
    reason = str(error).strip().splitlines()[0]
    return RankLostError(f"another rank has ended or does not respond ({reason}); see its log")
