"""Segments: which tokens of a packed batch attend to each other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor

from ablate.core.device import on_device

T = TypeVar("T")


@dataclass(frozen=True)
class Segments:
    """Lengths of consecutive segments of packed tokens.

    Args:
        lengths: Tokens per segment, each at least 1.
        filler: bool `(tokens,)` on the CPU: padding tokens, which nothing attends to. Needs
            segments of equal lengths.
        exclude_self: bool `(tokens,)` on the CPU: tokens that attend to their whole segment
            except themselves. A token that is alone in its segment still attends to itself.
        causal: Whether a token attends only to itself and to those before it in its segment.

    Raises:
        ValueError: A segment is empty, filler is in segments of different lengths, a mark has
            the wrong number of tokens, or causal segments have filler or marks.
    """

    lengths: tuple[int, ...]
    filler: Tensor | None = field(default=None, compare=False)
    exclude_self: Tensor | None = field(default=None, compare=False)
    causal: bool = False

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"every segment needs at least one token; got lengths {self.lengths}")
        if self.filler is not None and not self.has_equal_lengths:
            raise ValueError(f"padded segments must have equal lengths; got {self.lengths}")
        for name, marked in (("filler", self.filler), ("exclude_self", self.exclude_self)):
            if marked is not None and len(marked) != self.num_tokens:
                raise ValueError(f"`{name}` marks {len(marked)} tokens of {self.num_tokens}")
            if marked is not None and self.causal:
                raise ValueError(f"causal segments cannot have `{name}`")

    @property
    def num_tokens(self) -> int:
        """Number of tokens, including filler."""
        return sum(self.lengths)

    @property
    def num_real(self) -> int:
        """Number of tokens without filler."""
        return self.num_tokens - (0 if self.filler is None else int(self.filler.sum()))

    @property
    def has_equal_lengths(self) -> bool:
        """Whether all segments have the same length."""
        return len(set(self.lengths)) == 1

    @property
    def num_pairs(self) -> int:
        """Number of (query, key) pairs within segments, including filler."""
        if self.causal:
            return sum(length * (length + 1) // 2 for length in self.lengths)
        return sum(length * length for length in self.lengths)

    @cached_property
    def real(self) -> Tensor:
        """Marks the cells of a padded batch that are not filler.

        bool `(segments, longest)` on the CPU.
        """
        if self.filler is not None:
            return ~self.filler.view(len(self.lengths), -1)
        return torch.arange(max(self.lengths)) < torch.tensor(self.lengths).unsqueeze(1)

    @cached_property
    def any_excludes_self(self) -> bool:
        """Whether any token does not attend to itself."""
        return self.exclude_self is not None and bool(self.exclude_self.any())

    @cached_property
    def allowed(self) -> Tensor:
        """Marks the keys that each cell of a padded batch may attend to, bool on the CPU.

        `(segments, 1, 1, longest)` if all cells of a segment attend to the same keys, otherwise
        `(segments, 1, longest, longest)` with queries before keys.
        """
        real = self.real.unsqueeze(1)
        if self.causal:
            longest = real.shape[-1]
            return (real & torch.ones(longest, longest, dtype=torch.bool).tril()).unsqueeze(1)
        if self.exclude_self is None or not self.any_excludes_self:
            return real.unsqueeze(1)
        marks = self.exclude_self
        excluded = torch.zeros_like(self.real)
        excluded[self.real] = marks if self.filler is None else marks[~self.filler]
        excluded &= self.real.sum(dim=1, keepdim=True) > 1
        return (real & ~torch.diag_embed(excluded)).unsqueeze(1)

    @cached_property
    def rows(self) -> Tensor:
        """Indices of the cells of a padded batch that are not filler.

        int64 `(tokens without filler,)` on the CPU.
        """
        return self.real.flatten().nonzero().squeeze(1)

    @cached_property
    def _on_device(self) -> dict[tuple[str, torch.device], Any]:
        return {}

    def cached(self, name: str, device: torch.device, build: Callable[[], T]) -> T:
        """Returns what `build` returned for this name and device when it was first called.

        The layers of a model share the inputs of a kernel, which depend on the segments alone.
        """
        if (name, device) not in self._on_device:
            self._on_device[name, device] = build()
        value: T = self._on_device[name, device]
        return value

    def allowed_on(self, device: torch.device) -> Tensor:
        """Returns `allowed` on `device`, copied once for all layers."""
        return self.cached("allowed", device, lambda: on_device(self.allowed, device))

    def offsets_on(self, device: torch.device) -> Tensor:
        """Returns where each segment begins, and where the last one ends, on `device`.

        int32 `(segments + 1,)`, copied once for all layers.
        """

        def build() -> Tensor:
            ends = torch.tensor((0, *self.lengths)).cumsum(0, dtype=torch.int32)
            return on_device(ends, device)

        return self.cached("offsets", device, build)
