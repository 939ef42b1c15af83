"""Runs CUDA code on a machine without a GPU: tensors on `cuda` are fake, others are real.

A fake tensor has a shape, a type and a device, and no numbers. So the code path of a GPU runs to
its end, and what it does wrong is recorded: waiting for the device, copies from pageable memory,
attention with a mask. `pretend_to_have_a_gpu` changes torch for the whole process, which must be
started with the two libraries of this folder (see `conftest.py`).
"""

import collections
import ctypes
import os
import traceback
from pathlib import Path
from typing import Any

import torch
import torch.amp.autocast_mode
import torch.cuda.graphs
from torch import Tensor
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.overrides import TorchFunctionMode

ROOT = Path(__file__).parents[2]
HOPPER = (9, 0)  # compute capability
READS = (  # calls whose result the CPU needs at once, so that it waits for the device
    Tensor.cpu,
    Tensor.item,
    Tensor.tolist,
    Tensor.__bool__,
    Tensor.__float__,
    Tensor.__int__,
    Tensor.nonzero,
    torch.nonzero,
    Tensor.numpy,
)


def pretend_to_have_a_gpu() -> None:
    """Makes torch answer as on a machine with one Hopper GPU."""
    torch.version.cuda = torch.version.cuda or "13.0"
    torch.backends.cuda.is_flash_attention_available = lambda: True
    torch.backends.cudnn.enabled = False  # it would ask the driver which convolution to use
    answers = {
        "is_available": True,
        "is_initialized": True,
        "current_device": 0,
        "device_count": 1,
        "get_device_capability": HOPPER,
        "get_device_name": "fake Hopper",
        "is_bf16_supported": True,
        "is_current_stream_capturing": False,
        "memory_allocated": 0,
        "max_memory_allocated": 0,
    }
    for name in ("init", "_lazy_init", "set_device", "synchronize", "empty_cache"):
        answers[name] = None
    answers["reset_peak_memory_stats"] = None
    for name, answer in answers.items():
        setattr(torch.cuda, name, lambda *args, answer=answer, **kwargs: answer)
    torch.cuda.graphs.is_current_stream_capturing = lambda: False
    for module in (torch.cuda.amp.common, torch.amp.autocast_mode):
        if hasattr(module, "amp_definitely_not_available"):
            module.amp_definitely_not_available = lambda: False
    fake_tensor.init_gpu_context = lambda device: None
    # a copy of a module is on the same fake device
    FakeTensorMode.__deepcopy__ = lambda self, memo: self
    torch._C._ensureCUDADeviceGuardSet()
    ctypes.CDLL(os.environ["FAKE_CUDA_SHIM"]).set_device_count(
        8
    )  # autograd looks at more than it uses


class FakeCuda(TorchFunctionMode):
    """Makes every tensor on `cuda` a fake one, and records what would cost time there.

    Attributes:
        waits: Calls that wait for the device, by (call, place in the code).
        num_copies: Copies from the CPU to the device.
        pageable_copies: Those from memory that is not pinned, by place in the code.
        masked_attention: Calls of torch's own attention with a mask, by shape.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mode = FakeTensorMode(allow_non_fake_inputs=False)
        self._pinned: dict[int, Tensor] = {}  # kept, so that no other tensor gets its id
        self.reset()

    def reset(self) -> None:
        """Forgets what was recorded."""
        self.waits: collections.Counter[tuple[str, str]] = collections.Counter()
        self.num_copies = 0
        self.pageable_copies: collections.Counter[str] = collections.Counter()
        self.masked_attention: collections.Counter[str] = collections.Counter()

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func is Tensor.pin_memory:
            self._pinned[id(args[0])] = args[0]
            return args[0]
        if func is Tensor.is_pinned:
            return id(args[0]) in self._pinned
        if kwargs.pop("pin_memory", False):
            tensor = func(*args, **kwargs)
            self._pinned[id(tensor)] = tensor
            return tensor
        if func in (Tensor.to, Tensor.cuda):
            device = _get_target(args, kwargs) if func is Tensor.to else "cuda"
            if _is_cuda(device) and not isinstance(args[0], FakeTensor):
                return self._copy_to_device(func, args, kwargs)
            if isinstance(args[0], FakeTensor) and device is not None and not _is_cuda(device):
                self.waits["to the CPU", _find_caller()] += 1
        if func is Tensor.copy_ and _is_fake(args[0]) and not _is_fake(args[1]):
            self._count_copy(args[1])
            return func(args[0], self._to_fake_device(args[1]), *args[2:], **kwargs)
        if func in READS and isinstance(args[0], FakeTensor):
            self.waits[func.__name__, _find_caller()] += 1
        if func is torch.nn.functional.scaled_dot_product_attention and _is_fake(args[0]):
            return self._attend(*args, **kwargs)
        if func in (Tensor.backward, torch.cosine_similarity) and _is_fake(args[0]):
            with self.mode:  # these make tensors of their own on the device
                return func(*args, **kwargs)
        if _is_cuda(kwargs.get("device")) and not any(isinstance(a, Tensor) for a in args):
            if func in (torch.tensor, torch.as_tensor):
                self.num_copies += 1
                self.pageable_copies[_find_caller()] += 1
            with self.mode:
                return func(*args, **kwargs)
        return func(*args, **kwargs)

    def _copy_to_device(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensor = args[0]
        if not isinstance(tensor, torch.nn.Parameter):
            self._count_copy(tensor)
        fake = self.mode.from_tensor(tensor.detach())
        with self.mode:
            return func(fake, *args[1:], **kwargs)

    def _count_copy(self, tensor: Tensor) -> None:
        self.num_copies += 1
        if id(tensor) not in self._pinned:
            self.pageable_copies[_find_caller()] += 1

    def _to_fake_device(self, tensor: Tensor) -> Tensor:
        fake = self.mode.from_tensor(tensor.detach())
        with self.mode:
            return fake.to("cuda:0")

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, attn_mask: Any = None) -> Tensor:
        """Runs torch's attention by a kernel that works on fake tensors."""
        if attn_mask is not None:
            self.masked_attention[str(tuple(query.shape))] += 1
            shape = (*query.shape[:3], key.shape[2])
            bias = torch.zeros_like(attn_mask, dtype=query.dtype)
            attn_mask = bias.masked_fill(~attn_mask, -torch.inf).expand(shape)
        attend = torch.ops.aten._scaled_dot_product_efficient_attention
        attended: Tensor = attend(query, key, value, attn_mask, compute_log_sumexp=True)[0]
        return attended


def _is_fake(value: object) -> bool:
    return isinstance(value, FakeTensor)


def _is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def _get_target(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Returns the device that `Tensor.to` moves to, if it moves to one."""
    device = kwargs.get("device")
    for argument in args[1:]:
        if isinstance(argument, torch.device | str):
            device = argument
        elif isinstance(argument, Tensor):
            device = argument.device
    return device


def _find_caller() -> str:
    """Returns the innermost line of this project that is being run."""
    for frame in reversed(traceback.extract_stack()):
        path = Path(frame.filename)
        if path.is_relative_to(ROOT / "ablate") or path.is_relative_to(ROOT / "maskers"):
            return f"{path.relative_to(ROOT)}:{frame.lineno}"
    return "outside of the project"
