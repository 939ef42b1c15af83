"""The masking contract: a masker chooses which patches the encoder sees and which it predicts.

A mask states membership by name: `mask.context` and `mask.targets`, in which True means *belongs
to*. This module, torch and einops are all that a masker needs to import.
"""

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor

Needs = Literal["patches", "features", "attention", "loss"]


@dataclass(frozen=True)
class Grid:
    """The grid of a clip's patches; patch `i` is in row `i // time` and column `i % time`.

    Args:
        freq: Number of rows, from low to high frequencies.
        time: Number of columns.

    Example:
        >>> from ablate import Grid
        >>> grid = Grid(freq=8, time=64)
        >>> grid.size, str(grid)
        (512, '8x64')
    """

    freq: int
    time: int

    @property
    def size(self) -> int:
        """The number of patches."""
        return self.freq * self.time

    def __str__(self) -> str:
        return f"{self.freq}x{self.time}"


@dataclass(frozen=True, kw_only=True, eq=False)
class Clips:
    """The clips of a batch, as far as a masker knows them. All tensors are on the CPU.

    Args:
        grid: The patches of each clip.
        valid: Marks the patches that are not padding, bool (batch, patches). Padding is a tail of
            whole columns. Shares and counts refer to valid patches only.
        progress: The share of training that is done, in [0, 1].
        content: What `promises.needs` of the masker names, float (batch, patches, dim): the values
            of the patches, or what the model that is being trained makes of them. None if the
            masker needs neither.

    Example:
        >>> from ablate import Clips, Grid
        >>> clips = Clips.unpadded(Grid(freq=2, time=3), batch=4)
        >>> clips.batch, clips.valid.shape, clips.num_valid
        (4, torch.Size([4, 6]), tensor([6, 6, 6, 6]))
    """

    grid: Grid
    valid: Tensor  # bool (batch, patches)
    progress: float = 0.0
    content: Tensor | None = None  # float (batch, patches, dim)

    @classmethod
    def unpadded(
        cls, grid: Grid, batch: int, *, progress: float = 0.0, content: Tensor | None = None
    ) -> Self:
        """Returns `batch` clips without padding."""
        valid = torch.ones(batch, grid.size, dtype=torch.bool)
        return cls(grid=grid, valid=valid, progress=progress, content=content)

    @property
    def batch(self) -> int:
        """The number of clips."""
        return len(self.valid)

    @property
    def num_valid(self) -> Tensor:
        """The number of valid patches of each clip, int64 (batch,)."""
        return self.valid.sum(dim=1)

    @property
    def columns(self) -> Tensor:
        """Marks the columns of each clip that are not padding, bool (batch, time)."""
        return self.valid.view(-1, self.grid.freq, self.grid.time)[:, 0]

    @property
    def num_columns(self) -> Tensor:
        """The number of columns of each clip that are not padding, int64 (batch,)."""
        return self.columns.sum(dim=1)

    def get_content(self, masker: "AbstractMasker") -> Tensor:
        """Returns `content`, float (batch, patches, dim).

        Raises:
            ValueError: If there is none; the message names the masker and what it needs.
        """
        if self.content is None:
            raise ValueError(
                f"`{type(masker).__name__}` needs {masker.promises.needs} as `content`, "
                "(batch, patches, dim); got None"
            )
        return self.content


@dataclass(frozen=True)
class Mask:
    """Which patches of each sample belong to the context, and which to each target block.

    A masker that draws several masks per clip makes each a sample: `batch` is then the number of
    clips times `promises.copies`, with the masks of a clip next to each other. A sample with fewer
    blocks than others has empty blocks. All tensors are on the CPU.

    Args:
        context: Patches that the encoder sees, bool (batch, patches).
        targets: Patches to predict, bool (batch, blocks, patches).
        fallback: Samples whose mask could not be drawn as the settings say and was changed, bool
            (batch,). None if the masker does not record it.

    Example:
        >>> import torch
        >>> from ablate import Mask
        >>> context = torch.tensor([[True, False, False, True]])
        >>> Mask(context, ~context.unsqueeze(1)).target_union
        tensor([[False,  True,  True, False]])
    """

    context: Tensor
    targets: Tensor
    fallback: Tensor | None = None

    @property
    def target_union(self) -> Tensor:
        """Marks every patch that is in some target block, bool (batch, patches)."""
        return union(self.targets)


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What a masker declares about its masks; the trainer and `check_masker` rely on it.

    Args:
        context: Least and greatest share of the valid patches that are visible, in [0, 1].
        exact: The share is `context` itself, rounded to patches.
        overlap: A patch may be both context and target.
        coupled: Samples of a batch share sizes or masks, so masks are drawn for the global batch.
        copies: Masks per clip.
        needs: What `clips.content` must hold: `patches` for their values; of the model that is
            being trained, `features` of the encoder that is evaluated, the `attention` that each
            patch receives in its last layer, or the `loss` of each patch when it is predicted
            from a random half of the others. Masks that need the model are drawn when their step
            begins, and not ahead of it; the loss costs two forward passes.
        uneven: Why some patch is context or target less than half or more than twice as often as
            the average patch. Empty if none is.
        unvisited: Why some patch is never context, or never a target. Empty if none is.
        slow: Why drawing takes far longer than sorting as many random numbers.

    Example:
        >>> from ablate import Promises
        >>> Promises(context=(0.4, 0.4), exact=True).copies
        1
    """

    context: tuple[float, float]
    exact: bool = False
    overlap: bool = False
    coupled: bool = False
    copies: int = 1
    needs: Needs | None = None
    uneven: str = ""
    unvisited: str = ""
    slow: str = ""


class UnsupportedGridError(ValueError):
    """Raised by a masker that cannot work on a grid; the message says why and what would work.

    Example:
        >>> from ablate import Grid, UnsupportedGridError
        >>> grid = Grid(freq=1, time=8)
        >>> raise UnsupportedGridError(f"{grid} has one row; use more mel bands")
        Traceback (most recent call last):
        ablate.model.masking.UnsupportedGridError: 1x8 has one row; use more mel bands
    """


class OutdatedMaskerError(ValueError):
    """Raised for a masker that implements the contract of version 0.1; shows what to change."""


class AbstractMasker(ABC):
    """Draws masks. Subclasses are frozen keyword-only dataclasses, whose fields are settings.

    A subclass implements `promises` and `draw`. On every grid of two patches or more that it does
    not refuse, for every sample with at least two valid patches, its masks keep these promises:

    - the context and at least one target block are not empty; none contains padding;
    - context and targets are disjoint, unless `promises.overlap`;
    - all randomness comes from the generator, which each call advances; nothing is kept between
      calls, inputs are not changed, and work is bounded;
    - samples are independent of each other, of the size of the batch and of the padding and the
      content of other clips, unless `promises.coupled`;
    - a grid is refused for every batch or for none;
    - on a clip without padding, every patch is context, and is target, at least half and at most
      twice as often as the average patch, unless `promises.uneven` says why not.

    `ablate.check_masker` tests them.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> from ablate import AbstractMasker, Clips, Grid, Mask, Promises
        >>> @dataclass(frozen=True, kw_only=True)
        ... class EveryOther(AbstractMasker):
        ...     @property
        ...     def promises(self):
        ...         return Promises(context=(0.3, 0.7))
        ...     def draw(self, clips, generator):
        ...         first = torch.randint(2, (clips.batch, 1), generator=generator)
        ...         context = (torch.arange(clips.grid.size) % 2 == first) & clips.valid
        ...         return Mask(context, (clips.valid & ~context).unsqueeze(1))
        >>> mask = EveryOther().draw(Clips.unpadded(Grid(2, 4), batch=3), torch.Generator())
        >>> mask.context.sum(dim=1)
        tensor([4, 4, 4])
    """

    @property
    @abstractmethod
    def promises(self) -> Promises:
        """What this masker declares about its masks."""

    @abstractmethod
    def draw(self, clips: Clips, generator: torch.Generator) -> Mask:
        """Draws `promises.copies` masks for each clip.

        Args:
            clips: The grid and the valid patches of each clip, the progress of training and, if
                `promises.needs` it, the content.
            generator: The only source of randomness, on the CPU.

        Returns:
            Masks of `clips.batch * promises.copies` samples, those of a clip next to each other.

        Raises:
            UnsupportedGridError: If the masker cannot work on `clips.grid`.
            ValueError: If needed content is missing.
        """

    def __init_subclass__(cls) -> None:
        """Refuses a masker that defines `__call__`, as it did before version 0.2."""
        super().__init_subclass__()
        if "__call__" in vars(cls):
            raise OutdatedMaskerError(
                f"`{cls.__module__}.{cls.__qualname__}` defines `__call__`; since version 0.2 a "
                "masker defines `draw`. Replace\n\n"
                f"    def __call__{inspect.signature(vars(cls)['__call__'])}:\n"
                "        valid = all_valid(grid, batch, valid)\n\nby\n\n"
                "    def draw(self, clips, generator):\n"
                "        grid, batch, valid = clips.grid, clips.batch, clips.valid\n\n"
                "`progress` and `content` are `clips.progress` and `clips.content`. Another masker "
                "is called by `masker.draw(clips, generator)`."
            )


Masker = AbstractMasker


def union(members: Tensor) -> Tensor:
    """Returns the union over blocks, bool (batch, blocks, patches) to (batch, patches).

    On bytes, because `any` of bools takes 30 times as long.
    """
    return members.view(torch.uint8).amax(dim=1).bool()


def check_range(
    name: str, value: float | tuple[float, float], *, low: float, high: float
) -> tuple[float, float]:
    """Validates a setting that is a number or an ordered pair, and returns it as a pair.

    Raises:
        ValueError: If the value is outside [low, high] or not ordered; the message names it.
    """
    pair = value if isinstance(value, tuple) else (value, value)
    if not low <= pair[0] <= pair[1] <= high:
        raise ValueError(f"`{name}` must lie in [{low:g}, {high:g}], lower end first; got {value}")
    return pair
